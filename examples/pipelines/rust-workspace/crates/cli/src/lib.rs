pub fn cli() -> u32 {
    1
}
