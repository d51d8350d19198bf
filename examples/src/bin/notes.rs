//! A JSON API: try `curl --json '{"text":"buy milk"}' 127.0.0.1:8080/notes`, then `curl 127.0.0.1:8080/notes/1`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::Parser;
use http_app::{App, Call, Json, Problem};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Note {
    text: String,
    #[serde(default)]
    done: bool,
}

static NOTES: Mutex<BTreeMap<u64, Note>> = Mutex::new(BTreeMap::new());

fn notes() -> MutexGuard<'static, BTreeMap<u64, Note>> {
    NOTES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn list(call: Call) -> Result<Json<BTreeMap<u64, Note>>, Problem> {
    let done: Option<bool> = call.query().get_as("done")?;
    let mut found = notes().clone();
    found.retain(|_, note| done.is_none_or(|done| done == note.done));
    Ok(Json(found))
}

fn add(call: Call) -> Result<(u16, Json<u64>), Problem> {
    let (note, mut notes) = (call.json()?, notes());
    let id = notes.last_key_value().map_or(1, |(last, _)| last + 1);
    notes.insert(id, note);
    Ok((201, Json(id)))
}

fn get(call: Call) -> Result<Json<Note>, Problem> {
    let note = notes().get(&call.param_as("id")?).cloned();
    note.map(Json).ok_or(Problem::not_found())
}

fn remove(call: Call) -> Result<(), Problem> {
    let note = notes().remove(&call.param_as("id")?);
    note.map(drop).ok_or(Problem::not_found())
}

fn main() -> std::io::Result<()> {
    let app = App::new()
        .get("/notes", list)
        .post("/notes", add)
        .get("/notes/{id}", get)
        .delete("/notes/{id}", remove)
        .build()
        .map_err(std::io::Error::other)?;
    examples::serve_http(examples::Options::parse(), move |peer| Some(app.handler(peer)))
}
