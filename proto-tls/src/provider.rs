//! The cryptography that this crate was compiled with.

use core::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// No cryptography is available: none was compiled in, or this processor cannot run it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoProvider;

impl fmt::Display for NoProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this processor cannot run the cryptography that was compiled in (graviola needs AVX2, ADX and BMI2 on x86-64, \
             cryptographic instructions on aarch64): build with the feature ring",
        )
    }
}

impl core::error::Error for NoProvider {}

/// The first provider that was compiled in and that this processor can run: graviola, then ring. [`ServerConfig`](crate::ServerConfig) and
/// [`ClientConfig`](crate::ClientConfig) accept any other provider of rustls as well.
///
/// # Errors
///
/// [`NoProvider`] if there is none.
pub fn provider() -> Result<Arc<CryptoProvider>, NoProvider> {
    #[cfg(all(feature = "graviola", any(target_arch = "x86_64", target_arch = "aarch64")))]
    if graviola_runs() {
        return Ok(Arc::new(rustls_graviola::default_provider()));
    }
    #[cfg(feature = "ring")]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[allow(unreachable_code, reason = "reached where the features above are off")]
    Err(NoProvider)
}

/// Whether the processor has the instructions that graviola needs; without them, graviola panics.
#[cfg(all(feature = "graviola", target_arch = "x86_64"))]
fn graviola_runs() -> bool {
    std::arch::is_x86_feature_detected!("aes")
        && std::arch::is_x86_feature_detected!("pclmulqdq")
        && std::arch::is_x86_feature_detected!("avx")
        && std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("adx")
        && std::arch::is_x86_feature_detected!("bmi1")
        && std::arch::is_x86_feature_detected!("bmi2")
}

#[cfg(all(feature = "graviola", target_arch = "aarch64"))]
fn graviola_runs() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
        && std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull")
        && std::arch::is_aarch64_feature_detected!("sha2")
}
