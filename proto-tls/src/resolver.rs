//! Selects the certificate for a client.

use core::fmt;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::identity::Identity;

thread_local! {
    /// The name in the hello resolved last. rustls passes the name only to the resolver, during a call of the engine; the engine takes it
    /// from here before that call returns.
    static ASKED: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// Takes the name that the client asked for during the last call of rustls.
pub(crate) fn take_asked() -> Option<Box<str>> {
    ASKED.try_with(Cell::take).ok().flatten()
}

/// Certificates by their names. A client that asks for no name, or for an unknown one, gets the first usable certificate.
pub(crate) struct Resolver {
    all: Vec<Arc<CertifiedKey>>,
    /// Indices into `all`. Wildcard names are stored without the asterisk: `.example.org`.
    by_name: HashMap<String, Vec<usize>>,
}

impl Resolver {
    pub(crate) fn new(identities: &[Identity]) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, identity) in identities.iter().enumerate() {
            for name in identity.names() {
                let name = name.strip_prefix('*').map(str::to_owned).unwrap_or(name);
                by_name.entry(name).or_default().push(index);
            }
        }
        Resolver {
            all: identities
                .iter()
                .map(|identity| Arc::clone(identity.certified()))
                .collect(),
            by_name,
        }
    }

    /// The certificates to try for `name`: exact names, then wildcards of the parent domain (RFC 6125 section 6.4.3), then all.
    fn candidates<'a>(&'a self, name: Option<&str>) -> impl Iterator<Item = &'a Arc<CertifiedKey>> + use<'a> {
        let own = name.and_then(|name| self.by_name.get(name));
        let parent = name
            .and_then(|name| name.find('.').map(|dot| &name[dot..]))
            .and_then(|parent| self.by_name.get(parent));
        let named = own.into_iter().chain(parent).flatten();
        named.filter_map(|index| self.all.get(*index)).chain(&self.all)
    }
}

impl ResolvesServerCert for Resolver {
    /// The first certificate whose key supports a signature scheme of the client, so that one name may have an RSA key and an ECDSA key.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let schemes = hello.signature_schemes();
        let mut candidates = self.candidates(name.as_deref());
        let usable = candidates.find(|candidate| candidate.key.choose_scheme(schemes).is_some());
        let usable = usable.cloned();
        let _ = ASKED.try_with(|asked| asked.set(name.map(String::into_boxed_str)));
        usable
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.by_name).finish()
    }
}
