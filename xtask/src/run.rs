//! Runs other programs and prints each command line.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// What a step returns: nothing, or a message for the person who ran it.
pub type Outcome = Result<(), String>;

/// An environment variable for a program.
pub type Var = (&'static str, OsString);

/// The root folder of the repository.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}

fn command(program: &str, args: &[&str], vars: &[Var]) -> Command {
    println!("$ {program} {}", args.join(" "));
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    for (name, value) in vars {
        command.env(name, value);
    }
    command
}

fn outcome(
    program: &str,
    args: &[&str],
    status: std::io::Result<std::process::ExitStatus>,
) -> Outcome {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{program} {}` failed ({status})", args.join(" "))),
        Err(e) => Err(format!("`{program}` did not start: {e}")),
    }
}

/// Runs a program in the root folder; fails if the program does.
pub fn run(program: &str, args: &[&str], vars: &[Var]) -> Outcome {
    outcome(program, args, command(program, args, vars).status())
}

/// Runs a program and passes each line of its output to `watch` after printing it.
pub fn watch(program: &str, args: &[&str], vars: &[Var], mut watch: impl FnMut(&str)) -> Outcome {
    let child = command(program, args, vars).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|e| format!("`{program}` did not start: {e}"))?;
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            println!("{line}");
            watch(&line);
        }
    }
    outcome(program, args, child.wait())
}

/// The output of a program without surrounding white space; `None` if it fails or does not start.
pub fn output(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program).args(args).current_dir(root()).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_string())
}
