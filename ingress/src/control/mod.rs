//! The control socket: what ingressctl asks and ingressd answers.
