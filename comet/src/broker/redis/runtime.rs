//! The link to Redis in a tokio runtime, by the `redis` crate.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use proto_resp::Value;
use protocol::bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo,
    RedisResult,
};
use tokio::sync::{Notify, mpsc};

use super::RedisUrl;
use super::dialect::Redis;
use crate::broker::order::{Command, Dialect, Order};
use crate::broker::upstream::{Link, Upstream};

/// Orders that may wait.
const ORDERS: usize = 64 * 1024;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Link for mpsc::Sender<Order> {
    fn send(&self, order: Order) {
        // One that does not fit is dropped, which those who wait learn.
        let _ = self.try_send(order);
    }
}

/// Begins to connect, on a thread with a runtime of its own.
pub(super) fn connect(url: &RedisUrl, dialect: Redis, upstream: Arc<Upstream>) -> io::Result<Box<dyn Link>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, orders) = mpsc::channel(ORDERS);
    let url = url.clone();
    let speak = move || {
        let outcome = runtime.block_on(speak(&url, dialect, &upstream, orders));
        upstream.note(outcome.map_err(|error| error.to_string()));
        upstream.is_down();
    };
    thread::Builder::new().name("redis".into()).spawn(speak)?;
    Ok(Box::new(sender))
}

/// Speaks until the connection ends.
async fn speak(
    url: &RedisUrl,
    dialect: Redis,
    upstream: &Arc<Upstream>,
    mut orders: mpsc::Receiver<Order>,
) -> RedisResult<()> {
    let dialect = Arc::new(Mutex::new(dialect));
    let ended = Arc::new(Notify::new());
    let (pushed, ending, telling) = (Arc::clone(&dialect), Arc::clone(&ended), Arc::clone(upstream));
    let push = move |info: PushInfo| -> Result<(), redis::aio::SendError> {
        match info.kind {
            PushKind::Disconnection => ending.notify_one(),
            kind => {
                let data: Vec<Value> = info.data.into_iter().map(value).collect();
                telling.note(lock(&pushed).push(kind.to_string().as_bytes(), &data));
            }
        }
        Ok(())
    };
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE))
        .set_push_sender(push);
    let mut settings = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_db(url.database.into());
    if let Some(username) = &url.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &url.password {
        settings = settings.set_password(password);
    }
    let info = (url.host.as_str(), url.port)
        .into_connection_info()?
        .set_redis_settings(settings);
    let client = redis::Client::open(info)?;
    let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let wanted = upstream.is_up();
    let begin = lock(&dialect).ready(&wanted);
    let send = |commands: Vec<Command>| {
        for command in commands {
            // They are sent in the order in which they are spawned, and wait for their replies side by side.
            let (connection, dialect, upstream) = (connection.clone(), Arc::clone(&dialect), Arc::clone(upstream));
            tokio::spawn(async move { upstream.note(answer(connection, &dialect, command).await) });
        }
    };
    send(begin);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(order) => send(lock(&dialect).order(order)),
                None => return Ok(()),
            },
            () = ended.notified() => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
        }
    }
}

/// Sends one command and hands on its reply.
async fn answer(
    mut connection: MultiplexedConnection,
    dialect: &Mutex<Redis>,
    (arguments, ticket): Command,
) -> Result<(), String> {
    let mut words = arguments.iter();
    let mut command = Cmd::new();
    for word in words.by_ref() {
        command.arg(&word[..]);
    }
    // The crate tells confirmations from replies only where it knows that they come.
    let reply = match (&arguments[0][..], arguments.get(1)) {
        (b"SUBSCRIBE", Some(channel)) => connection.subscribe(&channel[..]).await.map(|()| Value::Null),
        (b"UNSUBSCRIBE", Some(channel)) => connection.unsubscribe(&channel[..]).await.map(|()| Value::Null),
        _ => connection.send_packed_command(&command).await.map(value),
    };
    let reply = reply.map_err(|error| error.to_string())?;
    lock(dialect).reply(ticket, &reply)
}

fn lock(dialect: &Mutex<Redis>) -> std::sync::MutexGuard<'_, Redis> {
    dialect.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the crate has read, as our codec would have it.
fn value(value: redis::Value) -> Value {
    let all = |values: Vec<redis::Value>| values.into_iter().map(self::value).collect();
    match value {
        redis::Value::Int(number) => Value::Integer(number),
        redis::Value::BulkString(bytes) => Value::Bulk(bytes.into()),
        redis::Value::Array(values) | redis::Value::Set(values) => Value::Array(all(values)),
        redis::Value::SimpleString(text) => Value::Simple(text.into()),
        redis::Value::Okay => Value::Simple(Bytes::from_static(b"OK")),
        redis::Value::Map(pairs) => {
            let pairs = pairs
                .into_iter()
                .map(|(key, value)| (self::value(key), self::value(value)));
            Value::Map(pairs.collect())
        }
        redis::Value::ServerError(error) => Value::Error(error.to_string().into()),
        _ => Value::Null,
    }
}
