//! A lock that is granted in the order in which it was asked for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use futures_channel::oneshot;

/// A lock for one thread.
#[derive(Default)]
pub struct FairLock(Rc<RefCell<Queue>>);

#[derive(Default)]
struct Queue {
    is_locked: bool,
    waiting: VecDeque<oneshot::Sender<Guard>>,
}

/// Holds the lock until it is dropped.
pub struct Guard(Rc<RefCell<Queue>>);

impl FairLock {
    /// Takes a place in the queue now. The future resolves once every earlier guard has been dropped;
    /// dropping the future removes it from the queue.
    pub fn lock(&self) -> impl Future<Output = Guard> + use<> {
        let (sender, granted) = oneshot::channel();
        self.0.borrow_mut().waiting.push_back(sender);
        grant(&self.0);
        let queue = self.0.clone();
        async move {
            match granted.await {
                Ok(guard) => guard,
                // The queue never drops a sender that it has not used.
                Err(_) => Guard(queue),
            }
        }
    }
}

/// Gives the lock to the first place in the queue, unless it is held.
fn grant(queue: &Rc<RefCell<Queue>>) {
    let next = {
        let mut queue = queue.borrow_mut();
        let next = if queue.is_locked { None } else { queue.waiting.pop_front() };
        queue.is_locked |= next.is_some();
        next
    };
    if let Some(sender) = next {
        // If nobody waits there any more, the guard is dropped here and goes to the next place.
        drop(sender.send(Guard(queue.clone())));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.borrow_mut().is_locked = false;
        grant(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll(future: &mut std::pin::Pin<Box<impl Future<Output = Guard>>>) -> Option<Guard> {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(guard) => Some(guard),
            Poll::Pending => None,
        }
    }

    /// A call that is first polled between the release and the wake-up of an earlier one waits for it.
    #[test]
    fn a_later_call_cannot_overtake() {
        let lock = FairLock::default();
        let mut first = Box::pin(lock.lock());
        let mut second = Box::pin(lock.lock());
        let guard = poll(&mut first).expect("the lock is free");
        assert!(poll(&mut second).is_none());
        drop(guard);
        let mut third = Box::pin(lock.lock());
        assert!(poll(&mut third).is_none(), "the second call is before it");
        let guard = poll(&mut second).expect("it is the second call's turn");
        assert!(poll(&mut third).is_none());
        drop(guard);
        assert!(poll(&mut third).is_some());
    }

    /// The place in the queue is that of the call, not of the first poll.
    #[test]
    fn the_order_is_that_of_the_calls() {
        let lock = FairLock::default();
        let mut first = Box::pin(lock.lock());
        let mut second = Box::pin(lock.lock());
        assert!(poll(&mut second).is_none());
        drop(poll(&mut first).expect("it called first"));
        assert!(poll(&mut second).is_some());
    }

    #[test]
    fn a_dropped_call_gives_its_place_up() {
        let lock = FairLock::default();
        let mut first = Box::pin(lock.lock());
        let second = Box::pin(lock.lock());
        let mut third = Box::pin(lock.lock());
        let guard = poll(&mut first).expect("the lock is free");
        drop(second);
        drop(guard);
        let guard = poll(&mut third).expect("nobody is before it");
        // Granted, but never polled: the guard in the channel is released with the future.
        let fourth = Box::pin(lock.lock());
        drop(guard);
        drop(fourth);
        assert!(poll(&mut Box::pin(lock.lock())).is_some());
    }
}
