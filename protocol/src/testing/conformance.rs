//! The numbered rules of the contract, checked on any driver.
