//! WebSocket as a state machine: frames, messages, handshake, both roles, and adapters for the protocol contract.
