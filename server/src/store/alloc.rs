//! What allocations really take: the accounting's view of the allocator.

/// Bytes that an allocation of `size` takes: rounded up to the classes of common allocators
/// (multiples of 16 up to 128, then four classes for each power of two); nothing for nothing.
pub fn allocated(size: usize) -> usize {
    match size {
        0 => 0,
        1..=128 => (size + 15) & !15,
        _ => {
            let class = size.next_power_of_two() / 8;
            size.div_ceil(class) * class
        }
    }
}

#[cfg(test)]
mod tests {
    use super::allocated;

    #[test]
    fn sizes_are_rounded_up_to_classes() {
        let sizes = [(0, 0), (1, 16), (16, 16), (17, 32), (128, 128), (129, 160), (257, 320)];
        for (size, taken) in sizes {
            assert_eq!(allocated(size), taken);
        }
    }
}
