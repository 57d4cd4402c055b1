//! Queues of numbers, out of whose middle one can be taken.

/// Nodes are allocated in pieces of so many: a single array would be copied as a whole when it grows.
const PIECE: usize = 4096;
/// No node.
const NONE: u32 = u32::MAX;

#[derive(Clone)]
struct Node {
    number: u64,
    /// Towards the oldest.
    older: u32,
    /// Towards the newest; in a free node, the next free one.
    newer: u32,
}

/// The nodes of all queues. They are as many as there ever were at a time.
pub(crate) struct Nodes {
    pieces: Vec<Box<[Node]>>,
    free: u32,
}

impl Nodes {
    pub(crate) fn new() -> Self {
        Self { pieces: Vec::new(), free: NONE }
    }

    fn at(&mut self, node: u32) -> &mut Node {
        &mut self.pieces[node as usize / PIECE][node as usize % PIECE]
    }

    /// A node that is in no queue; `None` where there are four billion.
    pub(crate) fn take(&mut self, number: u64) -> Option<u32> {
        if self.free == NONE {
            let first = u32::try_from(self.pieces.len() * PIECE).ok()?;
            let last = first.checked_add(PIECE as u32).filter(|end| *end < NONE)?;
            let node = |at: u32| Node { number: 0, older: NONE, newer: at + 1 };
            self.pieces.push((first..last).map(node).collect());
            self.at(last - 1).newer = NONE;
            self.free = first;
        }
        let taken = self.free;
        self.free = self.at(taken).newer;
        self.at(taken).number = number;
        Some(taken)
    }

    /// Gives it back.
    pub(crate) fn give_back(&mut self, node: u32) {
        self.at(node).newer = self.free;
        self.free = node;
    }
}

/// Some of the nodes in the order in which they came.
pub(crate) struct Queue {
    oldest: u32,
    newest: u32,
    /// What its objects weigh.
    pub(crate) weight: u64,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self { oldest: NONE, newest: NONE, weight: 0 }
    }

    /// The oldest node and its number.
    pub(crate) fn oldest(&self, nodes: &mut Nodes) -> Option<(u32, u64)> {
        (self.oldest != NONE).then(|| (self.oldest, nodes.at(self.oldest).number))
    }

    /// Appends a node.
    pub(crate) fn push(&mut self, nodes: &mut Nodes, node: u32, weight: u64) {
        let there = nodes.at(node);
        there.older = self.newest;
        there.newer = NONE;
        match self.newest {
            NONE => self.oldest = node,
            newest => nodes.at(newest).newer = node,
        }
        self.newest = node;
        self.weight += weight;
    }

    /// Takes a node out.
    pub(crate) fn remove(&mut self, nodes: &mut Nodes, node: u32, weight: u64) {
        let Node { older, newer, .. } = *nodes.at(node);
        match older {
            NONE => self.oldest = newer,
            older => nodes.at(older).newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => nodes.at(newer).older = older,
        }
        self.weight -= weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_keeps_its_order_whatever_leaves() {
        let (mut nodes, mut queue) = (Nodes::new(), Queue::new());
        let many = 3 * PIECE as u64;
        let taken: Vec<u32> = (0..many).map(|n| nodes.take(n).expect("a node")).collect();
        for node in &taken {
            queue.push(&mut nodes, *node, 1);
        }
        // Every third, the first and the last among them.
        for node in taken.iter().step_by(3).chain(taken.last()) {
            queue.remove(&mut nodes, *node, 1);
            nodes.give_back(*node);
        }
        let wanted = (0..many).filter(|n| n % 3 != 0 && *n != many - 1);
        for number in wanted {
            let (node, there) = queue.oldest(&mut nodes).expect("more");
            assert_eq!(there, number);
            queue.remove(&mut nodes, node, 1);
            nodes.give_back(node);
        }
        assert!(queue.oldest(&mut nodes).is_none());
        assert_eq!(queue.weight, 0);
        let again: Vec<u32> = (0..many).map(|n| nodes.take(n).expect("a node")).collect();
        assert_eq!(nodes.pieces.len(), 3, "no node was lost");
        assert_eq!(again.len(), taken.len());
    }
}
