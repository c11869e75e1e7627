//! The directory of extendible hashing: which segment holds which hashes.
//!
//! The top bits of a hash choose a segment. A full segment's span of hashes is halved, two sparse
//! neighbours' spans are joined, and nobody ever waits for a table of millions to be moved.

/// Bits of a hash that make a scan's cursor: few enough for clients that count in doubles.
pub(super) const CURSOR_BITS: u32 = 48;

/// A part of the hash space: all hashes whose top `depth` bits are those of `prefix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The common bits, at the top; the others are 0.
    pub(super) prefix: u64,
    pub(super) depth: u32,
}

/// Segments' numbers by the top `bits` bits of a hash. Empty while there is at most one segment.
#[derive(Debug, Default)]
pub(super) struct Directory {
    places: Vec<u32>,
    bits: u32,
}

impl Span {
    /// All hashes.
    pub(super) const WHOLE: Span = Span { prefix: 0, depth: 0 };

    /// Its halves: the lower and the upper.
    pub(super) fn halves(self) -> (Span, Span) {
        let depth = self.depth + 1;
        let upper = self.prefix | 1 << (64 - depth);
        (Span { prefix: self.prefix, depth }, Span { prefix: upper, depth })
    }

    /// Whether a hash of this span is in its upper half.
    pub(super) fn is_upper(self, hash: u64) -> bool {
        hash >> (63 - self.depth) & 1 == 1
    }

    /// The other half of the span that this one is a half of; the whole has none.
    pub(super) fn twin(self) -> Option<Span> {
        (self.depth > 0)
            .then(|| Span { prefix: self.prefix ^ 1 << (64 - self.depth), depth: self.depth })
    }

    /// The span that this one is a half of.
    pub(super) fn parent(self) -> Span {
        match self.depth {
            0 => self,
            depth => Span { prefix: self.prefix & !(1 << (64 - depth)), depth: depth - 1 },
        }
    }

    /// Where it begins among the positions of a scan.
    pub(super) fn start(self) -> u64 {
        self.prefix >> (64 - CURSOR_BITS)
    }

    /// Where it ends among the positions of a scan.
    pub(super) fn end(self) -> u64 {
        self.start() + (1 << (CURSOR_BITS - self.depth))
    }
}

impl Directory {
    /// The segment that holds a hash.
    #[inline]
    pub(super) fn segment_of(&self, hash: u64) -> usize {
        if self.bits == 0 { 0 } else { self.places[(hash >> (64 - self.bits)) as usize] as usize }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.places.capacity() * size_of::<u32>()
    }

    /// Says that segment `index` now holds `span`.
    pub(super) fn enter(&mut self, span: Span, index: usize) {
        while self.bits < span.depth {
            // Every place becomes two; at first there is none but the only one.
            let doubled = |place: &u32| [*place, *place];
            self.places = match self.bits {
                0 => vec![0, 0],
                _ => self.places.iter().flat_map(doubled).collect(),
            };
            self.bits += 1;
        }
        if self.bits > 0 {
            let first = (span.prefix >> (64 - self.bits)) as usize;
            let places = 1usize << (self.bits - span.depth);
            self.places[first..first + places].fill(index as u32);
        }
    }

    /// Halves the directory as long as none of the spans needs all its bits. Looked at only when
    /// there are far fewer segments than places, so that it costs nothing in the long run.
    pub(super) fn shrink(&mut self, spans: impl ExactSizeIterator<Item = Span> + Clone) {
        while self.bits > 0
            && spans.len() * 4 <= self.places.len().max(4)
            && spans.clone().all(|span| span.depth < self.bits)
        {
            self.bits -= 1;
            self.places = match self.bits {
                0 => Vec::new(),
                _ => self.places.iter().step_by(2).copied().collect(),
            };
        }
    }
}

/// All entries of a segment share their hashes' top bits, which are those that a segment would
/// tell its entries apart by; the middle bits take their place.
#[inline]
pub(super) fn spread(hash: u64) -> u64 {
    hash.rotate_left(32)
}

/// A scan's position as a cursor: 0 at the end.
pub(super) fn wrap(position: u64) -> u64 {
    if position >> CURSOR_BITS == 0 { position } else { 0 }
}
