//! Windows: OVER and WINDOW, and their frames.

use sqlparser::ast::{self, Expr};

use super::Binder;
use super::expression::start;
use crate::error::{Condition, Error};
use crate::sql::functions::{Emit, guards};
use crate::sql::ir::{Frame, FrameBound, Node, OrderKey, Scalar, Window};
use crate::sql::parse;
use crate::sql::types::{Type, Value};

impl Binder<'_> {
    /// OVER (…).
    pub(super) fn window(&mut self, spec: &ast::WindowSpec) -> Result<Window, Error> {
        let mut window = match &spec.window_name {
            Some(name) => self.copied_window(name, spec)?,
            None => Window::default(),
        };
        for key in &spec.partition_by {
            let bound = self.expression(key)?;
            let key = self.known(bound)?;
            window.partition.push(key);
        }
        if !spec.order_by.is_empty() {
            window.order = self.order_keys(&spec.order_by)?;
        }
        if let Some(frame) = &spec.window_frame {
            self.frame(frame, &mut window)?;
        }
        Ok(window)
    }

    /// OVER name.
    pub(super) fn named_window(&mut self, name: &ast::Ident) -> Result<Window, Error> {
        let known = self.windows.iter().rev().find(|(known, _)| *known == name.value).map(|(_, window)| window.clone());
        known.ok_or_else(|| {
            let message = format!("window \"{}\" does not exist", name.value);
            self.error_at(Error::new(Condition::UndefinedObject, message), parse::byte_of(name.span.start))
        })
    }

    /// OVER (name …): what the named window lacks may be added.
    fn copied_window(&mut self, name: &ast::Ident, spec: &ast::WindowSpec) -> Result<Window, Error> {
        let window = self.named_window(name)?;
        let refused = if !spec.partition_by.is_empty() {
            Some(format!("cannot override PARTITION BY clause of window \"{}\"", name.value))
        } else if !spec.order_by.is_empty() && !window.order.is_empty() {
            Some(format!("cannot override ORDER BY clause of window \"{}\"", name.value))
        } else if window.frame.is_some() {
            Some(format!("cannot copy window \"{}\" because it has a frame clause", name.value))
        } else {
            None
        };
        match refused {
            Some(message) => {
                Err(self.error_at(Error::new(Condition::WindowingError, message), parse::byte_of(name.span.start)))
            }
            None => Ok(window),
        }
    }

    /// WINDOW name AS (…): known to the rest of the SELECT.
    pub(super) fn define_window(
        &mut self,
        name: &ast::Ident,
        spec: &ast::WindowSpec,
        first: usize,
    ) -> Result<(), Error> {
        if self.windows.iter().skip(first).any(|(known, _)| *known == name.value) {
            let message = format!("window \"{}\" is already defined", name.value);
            return Err(self.error_at(Error::new(Condition::WindowingError, message), parse::byte_of(name.span.start)));
        }
        let window = self.window(spec)?;
        self.windows.push((name.value.clone(), window));
        Ok(())
    }

    fn frame(&mut self, frame: &ast::WindowFrame, window: &mut Window) -> Result<(), Error> {
        check_ends(frame)?;
        let ends = [(Some(&frame.start_bound), "starting"), (frame.end_bound.as_ref(), "ending")];
        let has_offset = |bound: &ast::WindowFrameBound| {
            matches!(bound, ast::WindowFrameBound::Preceding(Some(_)) | ast::WindowFrameBound::Following(Some(_)))
        };
        let ranged = matches!(frame.units, ast::WindowFrameUnits::Range)
            && ends.iter().any(|(bound, _)| bound.is_some_and(has_offset));
        let units = match frame.units {
            ast::WindowFrameUnits::Rows => "ROWS",
            ast::WindowFrameUnits::Range => "RANGE",
            ast::WindowFrameUnits::Groups => "GROUPS",
        };
        if units == "GROUPS" && window.order.is_empty() {
            return Err(Error::new(Condition::WindowingError, "GROUPS mode requires an ORDER BY clause"));
        }
        let key = if ranged { Some(self.range_key(window)?) } else { None };
        let start = self.frame_bound(&frame.start_bound, "starting", key)?;
        let end = frame.end_bound.as_ref().map(|bound| self.frame_bound(bound, "ending", key)).transpose()?;
        window.frame = Some(Frame { units, start, end });
        Ok(())
    }

    /// The one key of a RANGE frame with an offset becomes a number; returns its type.
    fn range_key(&mut self, window: &mut Window) -> Result<Type, Error> {
        let [order] = window.order.as_mut_slice() else {
            let message = "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column";
            return Err(Error::new(Condition::WindowingError, message));
        };
        let OrderKey::Expression(key) = &mut order.key else {
            return Err(Error::internal("a window that is sorted by an output"));
        };
        let type_ = key.type_;
        match type_ {
            Type::Int2 | Type::Int4 | Type::Int8 | Type::Float4 | Type::Float8 => {}
            Type::Time | Type::Timestamp | Type::Timestamptz => {}
            Type::Date | Type::Numeric | Type::Interval => {
                let value = std::mem::replace(key, Scalar::null(type_));
                let oid = Scalar::integer(i64::from(type_.oid()));
                *key = Scalar::call(Emit::Call(guards::FRAME_KEY), vec![value, oid], Type::Int8);
            }
            _ => {
                let message =
                    format!("RANGE with offset PRECEDING/FOLLOWING is not supported for column type {}", type_.name());
                return Err(Error::new(Condition::FeatureNotSupported, message));
            }
        }
        Ok(type_)
    }

    fn frame_bound(
        &mut self,
        bound: &ast::WindowFrameBound,
        end: &str,
        key: Option<Type>,
    ) -> Result<FrameBound, Error> {
        Ok(match bound {
            ast::WindowFrameBound::CurrentRow => FrameBound::CurrentRow,
            ast::WindowFrameBound::Preceding(None) => FrameBound::Preceding(None),
            ast::WindowFrameBound::Following(None) => FrameBound::Following(None),
            ast::WindowFrameBound::Preceding(Some(offset)) => {
                FrameBound::Preceding(Some(self.frame_offset(offset, end, key)?))
            }
            ast::WindowFrameBound::Following(Some(offset)) => {
                FrameBound::Following(Some(self.frame_offset(offset, end, key)?))
            }
        })
    }

    /// `sqlparser` takes a bare string in a frame for an interval.
    fn plain_offset<'e>(&self, offset: &'e Expr) -> &'e Expr {
        let Expr::Interval(interval) = offset else { return offset };
        let before = start(&*interval.value).and_then(|byte| self.text.get(..byte)).unwrap_or_default();
        let named = before.trim_end().to_ascii_lowercase().ends_with("interval");
        let bare = interval.leading_field.is_none() && interval.last_field.is_none();
        if bare && !named { &interval.value } else { offset }
    }

    fn frame_offset(&mut self, offset: &Expr, end: &str, key: Option<Type>) -> Result<Scalar, Error> {
        let offset = self.plain_offset(offset);
        let scopes = std::mem::take(&mut self.scopes);
        let bound = self.expression(offset);
        self.scopes = scopes;
        let bound = match bound {
            Err(error) if error.condition() == Condition::UndefinedColumn => {
                let units = if key.is_some() { "RANGE" } else { "ROWS" };
                let message = format!("argument of {units} must not contain variables");
                return Err(self.error_at(Error::new(Condition::InvalidColumnReference, message), start(offset)));
            }
            bound => bound?,
        };
        let wanted = match key {
            None | Some(Type::Int2 | Type::Int4 | Type::Int8) => Type::Int8,
            Some(Type::Float4 | Type::Float8) => Type::Float8,
            Some(Type::Numeric) => Type::Numeric,
            Some(_) => Type::Interval,
        };
        if let Some(key) = key
            && !crate::sql::functions::can_coerce(bound.type_, wanted, crate::sql::types::CastKind::Implicit)
        {
            let message = format!(
                "RANGE with offset PRECEDING/FOLLOWING is not supported for column type {} and offset type {}",
                key.name(),
                bound.type_.name()
            );
            let error = Error::new(Condition::FeatureNotSupported, message)
                .hint("Cast the offset value to an appropriate type.");
            return Err(self.error_at(error, start(offset)));
        }
        let bound = self.coerce(bound, wanted)?;
        if wanted == Type::Int8 && matches!(bound.node, Node::Literal { negated: false, .. }) {
            return Ok(bound);
        }
        let end = Scalar::new(Node::Constant(Value::Text(end.to_owned())), Type::Text);
        let oid = Scalar::integer(i64::from(key.map_or(0, Type::oid)));
        Ok(Scalar::call(Emit::Call(guards::FRAME_OFFSET), vec![bound, end, oid], wanted))
    }
}

/// 42P20 for frames that end before they start.
fn check_ends(frame: &ast::WindowFrame) -> Result<(), Error> {
    use ast::WindowFrameBound::{CurrentRow, Following, Preceding};
    let end = frame.end_bound.as_ref().unwrap_or(&CurrentRow);
    let message = match (&frame.start_bound, end) {
        (Following(None), _) => "frame start cannot be UNBOUNDED FOLLOWING",
        (_, Preceding(None)) => "frame end cannot be UNBOUNDED PRECEDING",
        (CurrentRow, Preceding(_)) => "frame starting from current row cannot have preceding rows",
        (Following(_), Preceding(_) | CurrentRow) => "frame starting from following row cannot have preceding rows",
        _ => return Ok(()),
    };
    Err(Error::new(Condition::WindowingError, message))
}
