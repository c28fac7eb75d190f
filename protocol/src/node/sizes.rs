//! How large the tables of a node are: the const parameters of `Node`, in one place.
//!
//! A const parameter cannot be left out of an `impl`, and arrays cannot take their length from a trait. So every item
//! that has to name all of them is written as if there were none, and `every_size!` puts them in. What it is given starts
//! with a doc comment: by that rustfmt knows it for an item.

macro_rules! every_size {
    (@sized [$($declared:tt)*] [$($named:tt)*] $(#[$meta:meta])* pub struct Node $fields:tt) => {
        $(#[$meta])*
        pub struct Node<$($declared)*> $fields
    };
    (@sized [$($declared:tt)*] [$($named:tt)*] $(#[$meta:meta])* impl Node $body:tt) => {
        $(#[$meta])*
        impl<$($declared)*> Node<$($named)*> $body
    };
    (@sized [$($declared:tt)*] [$($named:tt)*] $(#[$meta:meta])* impl $interface:path => Node $body:tt) => {
        $(#[$meta])*
        impl<$($declared)*> $interface for Node<$($named)*> $body
    };
    (@sized $($unknown:tt)*) => {
        compile_error!("a struct or an impl of `Node`, with a doc comment before it");
    };
    ($($item:tt)*) => {
        every_size! {
            @sized
            [
                const LINKS: usize,
                const SOURCES: usize,
                const PEERS: usize,
                const SEEN: usize,
                const REASM: usize,
                const OUTBOX: usize,
                const QUEUE: usize,
                const FRAME: usize,
                const GROUPS: usize,
                const ROUTES: usize,
            ]
            [LINKS, SOURCES, PEERS, SEEN, REASM, OUTBOX, QUEUE, FRAME, GROUPS, ROUTES]
            $($item)*
        }
    };
}
