//! An engine that answers every query with one canned row: the cost of the front door alone.
