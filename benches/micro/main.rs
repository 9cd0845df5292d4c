//! What the parts cost that all bytes or all calls pass through: the wire editor, the splice of a
//! session, the part cutter; and the index, which is read and written whole.

mod index;
mod large;
mod parts;
mod splice;
mod wire;

criterion::criterion_group!(
    benches,
    wire::edit,
    splice::tunnel,
    parts::cut,
    index::whole
);
criterion::criterion_main!(benches);
