//! Properties of the parts that everything else rests on, held against plain models and against
//! another implementation: requests, patterns, deadlines, numbers.

mod deadlines;
mod glob;
mod numbers;
mod parser;
