//! Values that are not copied as they are: decimals, and vendor_data as JSON.

pub mod decimal;
pub mod json;
