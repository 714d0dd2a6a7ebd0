//! How long work on the CPU lets the browser do other things: a message to oneself, which is a task of its own.

use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AddEventListenerOptions, MessageChannel};

use crate::device::HandBack;

/// Resolves in a later task. A timer would wait for 4 ms.
pub(super) fn hand_back() -> HandBack {
    let channel = MessageChannel::new().ok();
    if let Some(channel) = &channel {
        channel.port1().start();
    }
    Box::new(move || {
        let task = channel.as_ref().map(next_task);
        Box::pin(async move {
            if let Some(task) = task {
                // It cannot be rejected.
                let _ = JsFuture::from(task).await;
            }
        })
    })
}

fn next_task(channel: &MessageChannel) -> Promise {
    Promise::new(&mut |resolve: Function, _| {
        let once = AddEventListenerOptions::new();
        once.set_once(true);
        let listens =
            channel.port1().add_event_listener_with_callback_and_add_event_listener_options(
                "message", &resolve, &once,
            );
        // Where no message can come, there is nothing to wait for.
        if listens.is_err() || channel.port2().post_message(&JsValue::NULL).is_err() {
            let _ = resolve.call0(&JsValue::UNDEFINED);
        }
    })
}
