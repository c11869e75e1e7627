//! ElastiCache's IAM login: a token that is a signed request, made anew for each connection.

use std::time::{Duration, SystemTime};

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;

use crate::credentials::{Credentials, CredentialsFuture, CredentialsProvider, ProviderError};
use crate::error::Error;

/// How long a token may be used to log in; ElastiCache takes no longer one.
const VALID: Duration = Duration::from_secs(15 * 60);

/// Logs in to ElastiCache with AWS credentials instead of a password: needs TLS, Valkey 7.2 or Redis
/// 7.0 or later, and a user whose name is its id. Needs the feature `iam`; `elasticache` brings it with
/// TLS and clusters.
///
/// The AWS credentials come from whatever the application uses elsewhere, such as the
/// `aws-config` crate:
///
/// ```no_run
/// use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
/// use cloakroom_client::{ElastiCacheIam, SessionStore};
///
/// # fn main() -> Result<(), cloakroom_client::Error> {
/// // aws_config::load_from_env().await.credentials_provider() in an application.
/// let aws = SharedCredentialsProvider::new(Credentials::new("AKIA...", "...", None, None, "example"));
/// let login = ElastiCacheIam::replication_group("my-group", "app", "eu-central-1", aws)?;
/// let store = SessionStore::builder("rediss://master.my-group.abc123.euc1.cache.amazonaws.com:6379")
///     .credentials(login)
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ElastiCacheIam {
    cache: String,
    user: String,
    region: String,
    serverless: bool,
    aws: SharedCredentialsProvider,
}

impl ElastiCacheIam {
    /// For a node-based cache: the id of its replication group, not its endpoint.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a name that AWS does not give.
    pub fn replication_group(
        id: &str,
        user: &str,
        region: &str,
        aws: SharedCredentialsProvider,
    ) -> Result<ElastiCacheIam, Error> {
        ElastiCacheIam::new(id, user, region, aws, false)
    }

    /// For a serverless cache: its name, not its endpoint.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a name that AWS does not give.
    pub fn serverless(
        name: &str,
        user: &str,
        region: &str,
        aws: SharedCredentialsProvider,
    ) -> Result<ElastiCacheIam, Error> {
        ElastiCacheIam::new(name, user, region, aws, true)
    }

    fn new(
        cache: &str,
        user: &str,
        region: &str,
        aws: SharedCredentialsProvider,
        serverless: bool,
    ) -> Result<ElastiCacheIam, Error> {
        let (cache, user) = (cache.to_ascii_lowercase(), user.to_ascii_lowercase());
        let parts = || cache.split('-');
        let alphanumeric = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric());
        let begins = |name: &str| name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        if !begins(&cache) || !parts().all(|part| !part.is_empty() && alphanumeric(part)) {
            return Err(Error::Config(format!("no cache is named {cache:?}")));
        }
        let plain = user.strip_prefix("default.").unwrap_or(&user);
        if !begins(plain) || !plain.split('-').all(alphanumeric) {
            return Err(Error::Config(format!("no user has the id {user:?}")));
        }
        Ok(ElastiCacheIam { cache, user, region: region.to_owned(), serverless, aws })
    }

    /// The request that ElastiCache takes for a password, without its scheme.
    fn token(
        &self,
        aws: aws_credential_types::Credentials,
        now: SystemTime,
    ) -> Result<String, ProviderError> {
        let kind = if self.serverless { "&ResourceType=ServerlessCache" } else { "" };
        let uri = format!("http://{}/?Action=connect&User={}{kind}", self.cache, self.user);
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(VALID);
        let identity = aws.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("elasticache")
            .time(now)
            .settings(settings)
            .build()?
            .into();
        let headers = std::iter::empty();
        let request = SignableRequest::new("GET", &uri, headers, SignableBody::Bytes(b""))?;
        let (instructions, _) = sign(request, &params)?.into_parts();
        let mut request = http::Request::get(&uri).body(())?;
        instructions.apply_to_request_http1x(&mut request);
        let signed = request.uri().to_string();
        Ok(signed.strip_prefix("http://").unwrap_or(&signed).to_owned())
    }
}

impl CredentialsProvider for ElastiCacheIam {
    fn credentials(&self) -> CredentialsFuture<'_> {
        Box::pin(async {
            let aws = self.aws.provide_credentials().await?;
            let password = self.token(aws, SystemTime::now())?;
            Ok(Credentials { user: self.user.clone(), password })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of AWS's own examples.
    fn aws(session_token: Option<&str>) -> aws_credential_types::Credentials {
        aws_credential_types::Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            session_token.map(str::to_owned),
            None,
            "test",
        )
    }

    fn provider() -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(aws(None))
    }

    /// 2026-01-02T03:04:05Z
    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_323_045)
    }

    /// What is signed is the parameters' sorted form: their order in the token means nothing.
    fn sorted(token: &str) -> (&str, Vec<&str>) {
        let (cache, query) = token.split_once('?').expect("a query");
        let mut parameters: Vec<_> = query.split('&').collect();
        parameters.sort_unstable();
        (cache, parameters)
    }

    // The answers below are what botocore 1.44.8 makes of the same input: SigV4QueryAuth over a GET
    // of http://CACHE/?Action=connect&User=USER for 900 seconds, its clock standing at `now`.

    #[test]
    fn a_token_for_a_replication_group_is_the_known_one() {
        let login = ElastiCacheIam::replication_group("My-RG", "iam-user", "us-east-1", provider());
        let token = login.expect("good names").token(aws(None), now()).expect("it signs");
        assert_eq!(
            sorted(&token),
            sorted(
                "my-rg/?Action=connect&User=iam-user&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Fus-east-1%2Felasticache%2Faws4_request\
             &X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=f5fe5cc525a09d3e41d6da240bacf296749d13b6a5bc1cf6a49cbe2306428cac"
            )
        );
    }

    #[test]
    fn a_token_for_a_serverless_cache_with_a_role_is_the_known_one() {
        let login = ElastiCacheIam::serverless("my-cache", "iam-user", "eu-central-1", provider());
        let role = aws(Some("AQoDYXdzEPT//////////wEXAMPLE+token/=="));
        let token = login.expect("good names").token(role, now()).expect("it signs");
        assert_eq!(
            sorted(&token),
            sorted(
                "my-cache/?Action=connect&User=iam-user&ResourceType=ServerlessCache\
             &X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Feu-central-1%2Felasticache%2Faws4_request\
             &X-Amz-Date=20260102T030405Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host\
             &X-Amz-Security-Token=AQoDYXdzEPT%2F%2F%2F%2F%2F%2F%2F%2F%2F%2FwEXAMPLE%2Btoken%2F%3D%3D\
             &X-Amz-Signature=2c9325b8e31a68262ab00a75ea2d10d7bde93ef62f18884db92a90cd64b3a4b4"
            )
        );
    }

    #[tokio::test]
    async fn the_user_logs_in_with_a_fresh_token() {
        let login = ElastiCacheIam::replication_group("my-rg", "app", "us-east-1", provider());
        let made = login.expect("good names").credentials().await.expect("it signs");
        assert_eq!(made.user, "app");
        assert!(made.password.starts_with("my-rg/?Action=connect&User=app&X-Amz-Algorithm="));
        assert!(!made.password.contains("wJalrXUtnFEMI"));
    }

    #[test]
    fn names_that_aws_does_not_give_are_refused() {
        let make = |cache, user| ElastiCacheIam::serverless(cache, user, "us-east-1", provider());
        for cache in ["", "1a", "a--b", "a-", "a.b", "a/b", "my.host.amazonaws.com"] {
            assert!(make(cache, "app").is_err(), "{cache}");
        }
        for user in ["", "1a", "a&b", "a.b", "default."] {
            assert!(make("cache", user).is_err(), "{user}");
        }
        for user in ["a", "app-1", "default.app", "APP"] {
            assert!(make("cache", user).is_ok(), "{user}");
        }
    }
}
