//! One incarnation of one instance, as the ports see it: whatever it asks of the world takes its time, can fail, and can
//! be the last thing that it does.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::sleep;

use crate::ports::Down;
use crate::sim::chance::Chance;
use crate::sim::scenario::Dependency;
use crate::sim::world::{Shared, World};

pub struct Life {
    pub world: Shared,
    pub slot: usize,
    pub incarnation: u64,
    chance: Mutex<Chance>,
}

impl Life {
    pub fn new(world: Shared, slot: usize, incarnation: u64, seed: u64) -> Self {
        Self { world, slot, incarnation, chance: Mutex::new(Chance::of(seed, (slot, incarnation))) }
    }

    pub fn draw<T>(&self, from: impl FnOnce(&mut Chance) -> T) -> T {
        from(&mut self.chance.lock().expect("no holder of this lock panics"))
    }

    pub fn is_alive(&self, world: &World) -> bool {
        let slot = &world.slots[self.slot];
        slot.alive && slot.incarnation == self.incarnation
    }

    /// Runs what touches the world, if the process still lives; otherwise it never comes back.
    pub async fn act<T>(&self, what: impl FnOnce(&mut World) -> T) -> T {
        self.thawed().await;
        match self.if_alive(what) {
            Some(done) => done,
            None => std::future::pending().await,
        }
    }

    fn if_alive<T>(&self, what: impl FnOnce(&mut World) -> T) -> Option<T> {
        let mut world = self.world.lock();
        let alive = self.is_alive(&world);
        world.stats.steps += u64::from(alive);
        alive.then(|| what(&mut world))
    }

    /// While the process is stopped, nothing of it moves.
    pub async fn thawed(&self) {
        loop {
            let left = {
                let world = self.world.lock();
                world.slots[self.slot].frozen_until_ms.saturating_sub(world.now_ms())
            };
            match left {
                0 => return,
                ms => sleep(Duration::from_millis(ms)).await,
            }
        }
    }

    /// A call sets out: it takes a while, may find its dependency down, and the process may die on the way.
    pub async fn set_out(&self, to: Dependency, name: &'static str, what: &'static str) -> Result<(), Down> {
        self.may_die(what).await;
        let rates = self.world.lock().rates();
        let (delay, fails) = self.draw(|c| (c.delay_ms(rates.slow), c.happens(rates.down)));
        sleep(Duration::from_millis(delay)).await;
        let down = self.act(|world| {
            let down = fails || world.is_down(to);
            world.stats.faults += u64::from(down);
            down
        });
        match down.await {
            true => Err(Down { dependency: name, reason: format!("{what}: no answer") }),
            false => Ok(()),
        }
    }

    /// The effect has happened; the acknowledgement is on its way, and the process may not live to see it.
    pub async fn acknowledged(&self, what: &'static str) {
        self.may_die(what).await;
        let rates = self.world.lock().rates();
        let delay = self.draw(|c| c.delay_ms(rates.slow));
        sleep(Duration::from_millis(delay)).await;
        self.act(|_| ()).await;
    }

    async fn may_die(&self, what: &'static str) {
        let rate = self.world.lock().rates().crash;
        if self.draw(|c| c.happens(rate)) {
            self.act(|world| {
                world.note(|| format!("slot {} dies at: {what}", self.slot));
                world.kill(self.slot);
            })
            .await;
            std::future::pending::<()>().await;
        }
    }
}
