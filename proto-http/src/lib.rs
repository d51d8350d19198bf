//! HTTP/1.1 as a state machine: codec for both roles, and adapters for the protocol contract.
