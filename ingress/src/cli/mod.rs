//! What ingressctl does with its arguments.
