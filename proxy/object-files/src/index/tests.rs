use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Touch(u8),
    Insert(u8, u64),
    InsertOldest(u8, u64),
    Remove(u8),
    Pop,
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..24u8;
    prop_oneof![
        name.clone().prop_map(Step::Touch),
        (name.clone(), 0..100u64).prop_map(|(name, pages)| Step::Insert(name, pages)),
        (name.clone(), 0..100u64).prop_map(|(name, pages)| Step::InsertOldest(name, pages)),
        name.prop_map(Step::Remove),
        Just(Step::Pop),
    ]
}

proptest! {
    /// It behaves like a list with the newest first.
    #[test]
    fn like_a_list(steps in prop::collection::vec(step(), 0..200)) {
        let mut index = Index::new();
        let mut list: Vec<(Id, u64)> = Vec::new();
        for step in steps {
            let at = |name: u8| list.iter().position(|(id, _)| *id == [name; 16]);
            match step {
                Step::Touch(name) => {
                    let at = at(name);
                    prop_assert_eq!(index.touch(&[name; 16]), at.is_some());
                    if let Some(at) = at {
                        let touched = list.remove(at);
                        list.insert(0, touched);
                    }
                }
                Step::Insert(name, pages) => {
                    if let Some(at) = at(name) {
                        list.remove(at);
                    }
                    index.insert([name; 16], pages);
                    list.insert(0, ([name; 16], pages));
                }
                Step::InsertOldest(name, pages) => {
                    index.insert_oldest([name; 16], pages);
                    if at(name).is_none() {
                        list.push(([name; 16], pages));
                    }
                }
                Step::Remove(name) => {
                    let at = at(name);
                    prop_assert_eq!(index.remove(&[name; 16]), at.is_some());
                    at.map(|at| list.remove(at));
                }
                Step::Pop => prop_assert_eq!(index.pop_oldest(), list.pop()),
            }
            prop_assert_eq!(index.objects(), list.len() as u64);
            prop_assert_eq!(index.pages(), list.iter().map(|(_, pages)| pages).sum::<u64>());
            let mut ids = Vec::new();
            (0..).take_while(|chunk| index.ids(*chunk, &mut ids)).for_each(drop);
            ids.sort_unstable();
            let mut expected: Vec<Id> = list.iter().map(|(id, _)| *id).collect();
            expected.sort_unstable();
            prop_assert_eq!(ids, expected);
        }
        let rest: Vec<_> = std::iter::from_fn(|| index.pop_oldest()).collect();
        list.reverse();
        prop_assert_eq!(rest, list);
    }
}

#[test]
fn many_chunks() {
    let mut index = Index::new();
    let id = |number: u64| -> Id {
        *blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().unwrap()
    };
    let many = 3 * CHUNK as u64 + 1;
    (0..many).for_each(|number| index.insert(id(number), 2));
    assert_eq!((index.objects(), index.pages()), (many, 2 * many));
    assert!((0..many).all(|number| index.pop_oldest() == Some((id(number), 2))));
    assert_eq!(index.pop_oldest(), None);
    // The slots are used again.
    (0..many).for_each(|number| index.insert(id(number), 2));
    assert_eq!(index.slots.len(), 4);
}
