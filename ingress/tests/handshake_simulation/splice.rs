//! What the kernel does to the segments of a flow.

use ingress::handshake::{Segment, Splice};
use ingress_common::tcp::Flags;

pub fn to_backend(splice: &Splice, mut segment: Segment) -> Segment {
    segment.ack = segment.ack.minus(splice.delta());
    if let (Some(stamps), Some(ts_delta)) = (&mut segment.timestamps, splice.ts_delta) {
        stamps.echo = stamps.echo.wrapping_sub(ts_delta);
    }
    if splice.backend_scale.is_none() {
        let window = u32::from(segment.window) << splice.client_scale.unwrap_or(0);
        segment.window = window.min(65535) as u16;
    }
    segment
}

pub fn to_client(splice: &Splice, mut segment: Segment) -> Segment {
    segment.seq = segment.seq.plus(splice.delta());
    if let (Some(stamps), Some(ts_delta)) = (&mut segment.timestamps, splice.ts_delta) {
        stamps.value = stamps.value.wrapping_add(ts_delta);
    }
    if !segment.has(Flags::SYN) {
        let window = u32::from(segment.window) << splice.backend_scale.unwrap_or(0);
        segment.window = (window >> splice.promised_scale.unwrap_or(0)).min(65535) as u16;
    }
    segment
}
