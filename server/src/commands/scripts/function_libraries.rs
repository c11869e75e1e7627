//! Libraries of functions: from their code to functions that can be called, one or many at a time,
//! all of them or none.

use super::super::{CommandError, Ctx};
use super::interpreter::{self, Registered};
use super::shebang::{self, Broken, Shebang};
use crate::state::Library;

/// What becomes of the libraries that are there when others are restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestorePolicy {
    /// All go.
    Flush,
    /// They stay; one of the same name is an error.
    Append,
    /// Those of the same names go.
    Replace,
}

/// A library whose code has run; nobody can call it yet.
struct Fresh {
    library: Library,
    functions: Vec<Registered>,
}

const BAD_NAME: &str = "ERR Library names can only contain letters, numbers, or underscores(_) and \
                        must be at least one character long";

/// Loads one library; returns its name.
pub(super) fn load(ctx: &mut Ctx<'_>, code: &[u8], replace: bool) -> Result<String, CommandError> {
    let (name, body) = read_head(code)?;
    if !replace && ctx.server.functions.has_library(&name) {
        return Err(CommandError::new(format!("ERR Library '{name}' already exists")));
    }
    let fresh = run(ctx, name.clone(), code, body)?;
    join(ctx, vec![fresh], if replace { RestorePolicy::Replace } else { RestorePolicy::Append })?;
    Ok(name)
}

/// Restores libraries of this code: all, or none.
///
/// # Errors
///
/// The code of one does not load, or its name or a function's is taken.
pub fn adopt(
    ctx: &mut Ctx<'_>,
    codes: Vec<Vec<u8>>,
    policy: RestorePolicy,
) -> Result<(), CommandError> {
    let mut all: Vec<Fresh> = Vec::new();
    for code in &codes {
        let (name, body) = read_head(code)?;
        if all.iter().any(|other| other.library.name == name) {
            return Err(CommandError::new(format!("ERR Library '{name}' already exists")));
        }
        let fresh = run(ctx, name, code, body)?;
        if let Some(function) = shared(&fresh, &all) {
            return Err(taken(function));
        }
        all.push(fresh);
    }
    join(ctx, all, policy)
}

/// Removes a library. False: there is none of this name.
pub(super) fn delete(ctx: &mut Ctx<'_>, name: &str) -> Result<bool, CommandError> {
    let Some(library) = ctx.server.functions.remove(name) else { return Ok(false) };
    let names = library.functions.iter().map(|function| function.name.as_str());
    interpreter::forget_functions(ctx, names)?;
    publish(ctx);
    Ok(true)
}

/// Removes all.
pub(super) fn clear(ctx: &mut Ctx<'_>) {
    ctx.server.functions.clear();
    publish(ctx);
}

/// A library's name, from the first line of its code, `#!lua name=NAME`, and the rest.
fn read_head(code: &[u8]) -> Result<(String, &[u8]), CommandError> {
    let Shebang { engine, options, body } = shebang::read(code).map_err(|broken| {
        CommandError::new(match broken {
            Broken::Missing => "ERR Missing library metadata",
            Broken::Endless | Broken::Unquoted => "ERR Invalid library metadata",
        })
    })?;
    let mut name = None;
    for word in &options {
        match word.split_at_checked(5) {
            Some((key, value)) if key.eq_ignore_ascii_case("name=") => {
                if name.replace(value.to_owned()).is_some() {
                    return Err(CommandError::new(
                        "ERR Invalid metadata value, name argument was given multiple times",
                    ));
                }
            }
            _ => {
                return Err(CommandError::new(format!("ERR Invalid metadata value given: {word}")));
            }
        }
    }
    let name = name.ok_or_else(|| CommandError::new("ERR Library name was not given"))?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_plain) {
        return Err(CommandError::new(BAD_NAME));
    }
    let engine = engine.strip_prefix("#!").unwrap_or(&engine);
    if !engine.eq_ignore_ascii_case("lua") {
        return Err(CommandError::new(format!("ERR Engine '{engine}' not found")));
    }
    Ok((name, body))
}

/// Runs the code of a library.
fn run(ctx: &mut Ctx<'_>, name: String, code: &[u8], body: &[u8]) -> Result<Fresh, CommandError> {
    let functions = interpreter::load_library(ctx, body)?;
    if functions.is_empty() {
        return Err(CommandError::new("ERR No functions registered"));
    }
    let about = functions.iter().map(|function| function.about.clone()).collect();
    Ok(Fresh { library: Library { name, code: code.into(), functions: about }, functions })
}

/// The first function that another library has too.
fn shared<'f>(fresh: &'f Fresh, others: &[Fresh]) -> Option<&'f str> {
    let mut names = fresh.library.functions.iter().map(|function| function.name.as_str());
    names.find(|name| {
        let mut theirs = others.iter().flat_map(|other| &other.library.functions);
        theirs.any(|other| other.name.eq_ignore_ascii_case(name))
    })
}

fn taken(function: &str) -> CommandError {
    CommandError::new(format!("ERR Function {function} already exists"))
}

/// Adds libraries to those that are there, as the policy says.
fn join(ctx: &mut Ctx<'_>, fresh: Vec<Fresh>, policy: RestorePolicy) -> Result<(), CommandError> {
    let goes = |library: &str| match policy {
        RestorePolicy::Flush => true,
        RestorePolicy::Append => false,
        RestorePolicy::Replace => fresh.iter().any(|other| other.library.name == library),
    };
    let there = &ctx.server.functions;
    for Fresh { library, .. } in &fresh {
        if there.has_library(&library.name) && !goes(&library.name) {
            return Err(CommandError::new(format!("ERR Library {} already exists", library.name)));
        }
        for function in &library.functions {
            if there.owner(&function.name).is_some_and(|owner| !goes(owner)) {
                return Err(taken(&function.name));
            }
        }
    }
    let leaving = there.libraries().map(|library| library.name.clone());
    let leaving: Vec<String> = leaving.filter(|name| goes(name)).collect();
    for name in leaving {
        delete(ctx, &name)?;
    }
    for Fresh { library, functions } in fresh {
        interpreter::keep(ctx, functions)?;
        ctx.server.functions.put(library);
    }
    publish(ctx);
    Ok(())
}

/// Lets those know who ask while a function runs.
fn publish(ctx: &Ctx<'_>) {
    let functions = &ctx.server.functions;
    ctx.server.script.set_functions(functions.libraries().len(), functions.count());
}
