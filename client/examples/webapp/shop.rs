//! What the shop sells, and what it remembers for longer than a session: SQLite or PostgreSQL.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::any::{AnyPoolOptions, install_default_drivers};
use sqlx::{AnyPool, Error, Row};

/// How many of each item.
pub(crate) type Cart = BTreeMap<String, u32>;

/// Something to buy.
pub(crate) struct Item {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// In cents.
    pub(crate) price: i64,
    pub(crate) colour: &'static str,
}

pub(crate) const ITEMS: &[Item] = &[
    Item {
        id: "duffel",
        name: "Duffel coat",
        about: "Wool, four toggles",
        price: 18900,
        colour: "#8a5a34",
    },
    Item {
        id: "trench",
        name: "Trench coat",
        about: "For long queues",
        price: 24900,
        colour: "#b79a6b",
    },
    Item {
        id: "pea",
        name: "Pea coat",
        about: "Navy, double-breasted",
        price: 21500,
        colour: "#2f4461",
    },
    Item {
        id: "rain",
        name: "Raincoat",
        about: "Yellow as it should be",
        price: 9900,
        colour: "#d9a521",
    },
    Item { id: "loden", name: "Loden", about: "Smells of forest", price: 27900, colour: "#4c6b4a" },
    Item { id: "cape", name: "Opera cape", about: "Lined in red", price: 34900, colour: "#7c2233" },
];

pub(crate) fn item(id: &str) -> Option<&'static Item> {
    ITEMS.iter().find(|item| item.id == id)
}

/// The sum of a cart, in cents.
pub(crate) fn total(cart: &Cart) -> i64 {
    cart.iter().filter_map(|(id, count)| Some(item(id)?.price * i64::from(*count))).sum()
}

/// A number for a cart, which will be its order's.
pub(crate) fn new_id() -> String {
    format!("{:08X}", fastrand::u32(..))
}

/// A customer.
#[derive(Default)]
pub(crate) struct Profile {
    /// Seconds since the Unix epoch.
    pub(crate) since: i64,
    /// Visits in all sessions that are over.
    pub(crate) visits: i64,
}

/// Something that was ordered.
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) cart: Cart,
    pub(crate) total: i64,
    /// Seconds since the Unix epoch.
    pub(crate) at: i64,
}

/// The order book.
#[derive(Clone)]
pub(crate) struct Shop {
    pool: AnyPool,
}

impl Shop {
    pub(crate) async fn open(url: &str) -> Result<Shop, Error> {
        install_default_drivers();
        let pool = AnyPoolOptions::new().max_connections(5).connect(url).await?;
        for table in [
            "CREATE TABLE IF NOT EXISTS customers (
                 name TEXT PRIMARY KEY, since BIGINT NOT NULL, visits BIGINT NOT NULL)",
            "CREATE TABLE IF NOT EXISTS orders (
                 id TEXT PRIMARY KEY, customer TEXT NOT NULL REFERENCES customers (name),
                 cart TEXT NOT NULL, total BIGINT NOT NULL, at BIGINT NOT NULL)",
        ] {
            sqlx::query(table).execute(&pool).await?;
        }
        Ok(Shop { pool })
    }

    /// Enters a customer. Says how many orders they have made before.
    pub(crate) async fn welcome(&self, name: &str) -> Result<i64, Error> {
        sqlx::query(
            "INSERT INTO customers (name, since, visits) VALUES ($1, $2, 0)
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(now())
        .execute(&self.pool)
        .await?;
        let row = sqlx::query("SELECT COUNT(*) FROM orders WHERE customer = $1");
        row.bind(name).fetch_one(&self.pool).await?.try_get(0)
    }

    /// Adds a session's visits to the customer's, when it ends.
    pub(crate) async fn add_visits(&self, name: &str, visits: i64) -> Result<(), Error> {
        let update = sqlx::query("UPDATE customers SET visits = visits + $1 WHERE name = $2");
        update.bind(visits).bind(name).execute(&self.pool).await.map(drop)
    }

    pub(crate) async fn profile(&self, name: &str) -> Result<Profile, Error> {
        let row = sqlx::query("SELECT since, visits FROM customers WHERE name = $1");
        match row.bind(name).fetch_optional(&self.pool).await? {
            Some(row) => Ok(Profile { since: row.try_get(0)?, visits: row.try_get(1)? }),
            None => Ok(Profile::default()),
        }
    }

    /// Orders a cart, once.
    pub(crate) async fn order(&self, id: &str, name: &str, cart: &Cart) -> Result<(), Error> {
        let text = serde_json::to_string(cart).map_err(|e| Error::Encode(e.into()))?;
        let insert = sqlx::query(
            "INSERT INTO orders (id, customer, cart, total, at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (id) DO NOTHING",
        );
        let insert = insert.bind(id).bind(name).bind(text).bind(total(cart)).bind(now());
        insert.execute(&self.pool).await.map(drop)
    }

    /// What a customer has ordered, the latest first.
    pub(crate) async fn orders(&self, name: &str) -> Result<Vec<Order>, Error> {
        let rows = sqlx::query(
            "SELECT id, cart, total, at FROM orders WHERE customer = $1 ORDER BY at DESC, id",
        );
        let rows = rows.bind(name).fetch_all(&self.pool).await?;
        let read = |row: &sqlx::any::AnyRow| {
            let cart: String = row.try_get(1)?;
            let cart = serde_json::from_str(&cart).map_err(|e| Error::Decode(e.into()))?;
            Ok(Order { id: row.try_get(0)?, cart, total: row.try_get(2)?, at: row.try_get(3)? })
        };
        rows.iter().map(read).collect()
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
