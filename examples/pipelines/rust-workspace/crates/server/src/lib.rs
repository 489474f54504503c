pub fn server() -> u32 {
    1
}
