//! Where the value of an option comes from: flag over environment over file
//! over default.
//!
//! All four end in clap: the environment through an `env` name that each
//! option gets here, the file as the option's default. So one set of parsers
//! and checks holds for all.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::error::ContextValue;
use clap::{Arg, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use super::args::Cli;
use super::failure::{Exit, Failure};

const ENV_PREFIX: &str = "MAAS_MIRROR_";

/// Why the command line cannot be used.
pub(super) enum ParseError {
    /// clap's own message; also `--help`.
    Clap(clap::Error),
    /// The configuration file.
    Config(Failure),
}

pub(super) fn parse(args: Vec<OsString>) -> Result<Cli, ParseError> {
    let mut command = with_env(Cli::command());
    if let Some(path) = config_path(&args) {
        command = with_file(command, &path).map_err(ParseError::Config)?;
    }
    let matches: ArgMatches = command
        .try_get_matches_from(args)
        .map_err(|error| ParseError::Clap(without_credentials(error)))?;
    Cli::from_arg_matches(&matches).map_err(ParseError::Clap)
}

/// clap shows a value that it refuses; a URL may come with a password, and by
/// way of the environment into a log.
fn without_credentials(mut error: clap::Error) -> clap::Error {
    let hidden: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => {
                let (scheme, rest) = text.split_once("://")?;
                let (_, host) = rest.rsplit_once('@')?;
                Some((kind, format!("{scheme}://{host}")))
            }
            _ => None,
        })
        .collect();
    for (kind, text) in hidden {
        error.insert(kind, ContextValue::String(text));
    }
    error
}

/// Gives each option with a long name its environment variable.
fn with_env(command: Command) -> Command {
    let name = |arg: &Arg| {
        let long = arg.get_long()?;
        let own = !matches!(long, "help" | "version");
        own.then(|| format!("{ENV_PREFIX}{}", long.to_uppercase().replace('-', "_")))
    };
    let command = command.mut_args(|arg| match name(&arg) {
        // The help text says how the names are made; values may be secrets.
        Some(name) => arg.env(name).hide_env(true),
        None => arg,
    });
    command.mut_subcommands(with_env)
}

/// The file is needed before the options can be parsed, so it is looked for
/// by hand.
fn config_path(args: &[OsString]) -> Option<PathBuf> {
    let mut args = args.iter().skip(1).take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        if text == "--config" {
            return args.next().map(PathBuf::from);
        }
        if let Some(path) = text.strip_prefix("--config=") {
            return Some(PathBuf::from(path));
        }
    }
    std::env::var_os(format!("{ENV_PREFIX}CONFIG")).map(PathBuf::from)
}

/// Makes the file's values defaults. A key at the top is for every verb that
/// has the option, a key in a table named as a verb for that verb alone.
fn with_file(mut command: Command, path: &PathBuf) -> Result<Command, Failure> {
    let doing = format!("cannot use the configuration file {}", path.display());
    let wrong = |reason: String| Failure::message(doing.clone(), reason).exit(Exit::Usage);
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::new(doing.clone(), error).exit(Exit::Usage))?;
    let table: toml::Table =
        toml::from_str(&text).map_err(|error| wrong(toml_error(&text, &error)))?;
    let (verbs, keys): (toml::Table, toml::Table) =
        table.into_iter().partition(|(_, value)| value.is_table());
    for (key, value) in &keys {
        let values = values(value).map_err(|why| wrong(format!("{key}: {why}")))?;
        let mut known = has_option(&command, key);
        if known {
            command = set_default(command, key, &values);
        }
        let takers: Vec<_> = command
            .get_subcommands()
            .filter(|verb| has_option(verb, key))
            .map(|verb| verb.get_name().to_owned())
            .collect();
        for verb in takers {
            known = true;
            command = command.mut_subcommand(verb, |verb| set_default(verb, key, &values));
        }
        if !known {
            return Err(wrong(unknown(key, &command)));
        }
    }
    for (verb, keys) in &verbs {
        if command.find_subcommand(verb).is_none() {
            return Err(wrong(format!("there is no verb '{verb}'")));
        }
        for (key, value) in keys.as_table().into_iter().flatten() {
            let values = values(value).map_err(|why| wrong(format!("{verb}.{key}: {why}")))?;
            if !command.find_subcommand(verb).is_some_and(|verb| has_option(verb, key)) {
                return Err(wrong(unknown(&format!("{verb}.{key}"), &command)));
            }
            command = command.mut_subcommand(verb, |verb| set_default(verb, key, &values));
        }
    }
    Ok(command)
}

/// What is wrong with a file, and where: without the line itself, which may
/// hold a password.
fn toml_error(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let place = before.map_or_else(String::new, |before| {
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
        format!(" at line {}, column {}", before.matches('\n').count() + 1, column + 1)
    });
    format!("{}{place}", error.message())
}

fn has_option(command: &Command, key: &str) -> bool {
    let named = |arg: &Arg| arg.get_long() == Some(key) && key != "config";
    command.get_arguments().any(|arg| named(arg) || (key == "filters" && arg.get_id() == key))
}

fn set_default(command: Command, key: &str, values: &[OsString]) -> Command {
    let id = key.replace('-', "_");
    let values = values.to_vec();
    command.mut_arg(id, |arg| arg.default_values(values))
}

/// A TOML value as the words that a command line would have.
fn values(value: &toml::Value) -> Result<Vec<OsString>, &'static str> {
    match value {
        toml::Value::String(text) => Ok(vec![OsStr::new(text).to_owned()]),
        toml::Value::Integer(number) => Ok(vec![number.to_string().into()]),
        toml::Value::Boolean(flag) => Ok(vec![flag.to_string().into()]),
        toml::Value::Array(list) => {
            let words = list.iter().map(values).collect::<Result<Vec<_>, _>>()?;
            Ok(words.concat())
        }
        _ => Err("only texts, whole numbers, true, false and lists of them are options"),
    }
}

/// Says what was probably meant.
fn unknown(key: &str, command: &Command) -> String {
    let bare = key.rsplit('.').next().unwrap_or(key);
    let owner = command.get_subcommands().find(|verb| has_option(verb, bare));
    if let Some(verb) = owner {
        return format!("there is no option '{key}'; did you mean '{}.{bare}'?", verb.get_name());
    }
    let names = std::iter::once(command).chain(command.get_subcommands());
    let longs = names.flat_map(Command::get_arguments).filter_map(Arg::get_long);
    let close = longs.max_by_key(|long| {
        let same = long.chars().zip(bare.chars()).take_while(|(a, b)| a == b).count();
        (same, usize::MAX - long.len().abs_diff(bare.len()))
    });
    let hint = close.filter(|long| long.chars().next() == bare.chars().next());
    match hint {
        Some(long) => format!("there is no option '{key}'; did you mean '{long}'?"),
        None => format!("there is no option '{key}'"),
    }
}
