//! Function calls: special forms of PostgreSQL's grammar, functions by their signatures, aggregates and windows.

use sqlparser::ast::{self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::Binder;
use super::coerce::choose;
use super::expression::start;
use crate::error::{Condition, Error};
use crate::sql::functions::{self, Emit, Function, FunctionKind};
use crate::sql::ir::{Aggregate, Body, Node, Order, OrderKey, OutputColumn, Query, Scalar};
use crate::sql::types::{Type, Value};

/// GREATEST and LEAST of so many are a CASE, whose size doubles with each.
const EXTREME_CASES_MAX: usize = 4;

/// Why there is no aggregate in an aggregate.
const NESTED_AGGREGATE: &str = "aggregate function calls cannot be nested";

/// Why there is no window function in a window function.
const NESTED_WINDOW: &str = "window function calls cannot be nested";

impl Binder<'_> {
    /// A call as written.
    pub(super) fn function(&mut self, call: &ast::Function) -> Result<Scalar, Error> {
        let byte = start(&call.name);
        if call.uses_odbc_syntax || call.null_treatment.is_some() || !matches!(call.parameters, FunctionArguments::None)
        {
            return Err(self.error_at(Error::unsupported("this form of a function call"), byte));
        }
        if !call.within_group.is_empty() {
            return Err(self.error_at(Error::unsupported("WITHIN GROUP"), byte));
        }
        let name = super::last_name(&call.name);
        if matches!(name.as_str(), "mode" | "percentile_cont" | "percentile_disc") {
            let message = format!("WITHIN GROUP is required for ordered-set aggregate {name}");
            return Err(self.error_at(Error::new(Condition::WrongObjectType, message), byte));
        }
        let (list, clauses, distinct) = match &call.args {
            FunctionArguments::None => (&[][..], &[][..], false),
            FunctionArguments::Subquery(query) if name == "array" => return self.array_of_query(query),
            FunctionArguments::Subquery(_) => {
                return Err(self.error_at(Error::unsupported("a subquery as a function's argument"), byte));
            }
            FunctionArguments::List(list) => {
                let distinct = matches!(list.duplicate_treatment, Some(ast::DuplicateTreatment::Distinct));
                (list.args.as_slice(), list.clauses.as_slice(), distinct)
            }
        };
        let plain = call.over.is_none() && call.filter.is_none() && !distinct && clauses.is_empty();
        if plain && let Some(special) = self.special_form(&name, list, byte)? {
            return Ok(special);
        }
        let star = matches!(list, [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]);
        if !plain && functions::by_name(&name).is_empty() && window_function(&name).is_none() {
            // That there is no such function comes before what is wrong with the call.
            let arguments = if star { Vec::new() } else { self.arguments(list, byte)? };
            self.choose_function(&name, &arguments, byte)?;
        }
        let is_aggregate = functions::by_name(&name).first().is_some_and(|f| f.kind == FunctionKind::Aggregate);
        if is_aggregate || call.over.is_some() {
            return self.aggregate(call, &name, list, clauses, distinct, star);
        }
        if !plain {
            let message = format!("DISTINCT, ORDER BY or FILTER specified, but {name} is not an aggregate function");
            return Err(self.error_at(Error::new(Condition::WrongObjectType, message), byte));
        }
        let arguments =
            if name == "make_interval" { self.interval_arguments(list, byte)? } else { self.arguments(list, byte)? };
        self.call(&name, arguments, byte)
    }

    /// make_interval() is the one function here whose arguments have names and may be left out.
    fn interval_arguments(&mut self, list: &[FunctionArg], byte: Option<usize>) -> Result<Vec<Scalar>, Error> {
        const NAMES: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
        let unknown = || Error::new(Condition::UndefinedFunction, "function make_interval does not exist");
        let mut given: [Option<Scalar>; 7] = Default::default();
        for (at, argument) in list.iter().enumerate() {
            let (at, expression) = match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => (Some(at), expression),
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expression), .. } => {
                    (NAMES.iter().position(|known| *known == name.value), expression)
                }
                FunctionArg::ExprNamed {
                    name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(expression), ..
                } => (NAMES.iter().position(|known| *known == name.value), expression),
                _ => (None, &Expr::Value(ast::Value::Null.with_empty_span())),
            };
            let place = at.and_then(|at| given.get_mut(at)).ok_or_else(|| self.error_at(unknown(), byte))?;
            if place.is_some() {
                return Err(self.error_at(unknown(), byte));
            }
            *place = Some(self.expression(expression)?);
        }
        let zero = || Scalar::new(Node::Constant(Value::Int(0)), Type::Int4);
        Ok(given.into_iter().map(|argument| argument.unwrap_or_else(zero)).collect())
    }

    fn arguments(&mut self, list: &[FunctionArg], byte: Option<usize>) -> Result<Vec<Scalar>, Error> {
        let mut bound = Vec::with_capacity(list.len());
        for argument in list {
            match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => bound.push(self.expression(expression)?),
                _ => return Err(self.error_at(Error::unsupported("this form of a function's argument"), byte)),
            }
        }
        Ok(bound)
    }

    /// Values that go by a name without parentheses.
    pub(super) fn named_value(&mut self, name: &str) -> Result<Option<Scalar>, Error> {
        match name {
            "current_user" | "session_user" | "user" | "current_role" | "current_catalog" | "current_schema"
            | "current_date" | "current_timestamp" | "localtimestamp" | "localtime" => {
                self.special_form(name, &[], None)
            }
            _ => Ok(None),
        }
    }

    fn special_form(&mut self, name: &str, list: &[FunctionArg], byte: Option<usize>) -> Result<Option<Scalar>, Error> {
        let now = || Scalar::new(Node::Timestamp { statement: false }, Type::Timestamptz);
        let scalar = match (name, list.len()) {
            ("row", 1..) => Scalar::new(Node::Row(self.arguments(list, byte)?), Type::Record),
            ("now" | "transaction_timestamp" | "current_timestamp", 0) => now(),
            ("statement_timestamp", 0) => Scalar::new(Node::Timestamp { statement: true }, Type::Timestamptz),
            ("current_timestamp" | "localtimestamp" | "localtime", 1) => {
                let [FunctionArg::Unnamed(FunctionArgExpr::Expr(precision))] = list else { return Ok(None) };
                let Ok(digits) = precision.to_string().parse::<i32>() else { return Ok(None) };
                let type_ = match name {
                    "current_timestamp" => Type::Timestamptz,
                    "localtimestamp" => Type::Timestamp,
                    _ => Type::Time,
                };
                self.cast(now(), type_, digits.clamp(0, 6), byte)?
            }
            ("localtimestamp", 0) => self.cast(now(), Type::Timestamp, -1, byte)?,
            ("localtime", 0) => self.cast(now(), Type::Time, -1, byte)?,
            ("current_date", 0) => self.cast(now(), Type::Date, -1, byte)?,
            ("current_time", _) => {
                return Err(self.error_at(Error::unsupported(name.to_uppercase()), byte));
            }
            ("user" | "current_role", 0) => self.call("current_user", Vec::new(), byte)?,
            ("current_catalog", 0) => self.call("current_database", Vec::new(), byte)?,
            ("current_user" | "session_user" | "current_schema", 0) => self.call(name, Vec::new(), byte)?,
            ("coalesce", 1..) => {
                let arguments = self.arguments(list, byte)?;
                return self.variadic_common("COALESCE", arguments, |mut arguments| {
                    if arguments.len() == 1 {
                        return arguments.remove(0).node;
                    }
                    Node::Call { emit: Emit::Native("coalesce"), arguments }
                });
            }
            ("greatest" | "least", 1..) => return self.extreme(name, list, byte),
            ("nullif", 2) => {
                let mut arguments = self.arguments(list, byte)?;
                let right = arguments.pop().unwrap_or_else(|| Scalar::null(Type::Text));
                let left = arguments.pop().unwrap_or_else(|| Scalar::null(Type::Text));
                let (left, right) = (self.known(left)?, right);
                let equal = self.operator("=", Some(left.clone()), right, byte)?;
                let (type_, typmod) = (left.type_, left.typmod);
                let branches = vec![(equal, Scalar::null(type_))];
                let node = Node::Case { branches, otherwise: Some(Box::new(left)) };
                return Ok(Some(Scalar { node, type_, typmod }));
            }
            ("pg_typeof", 1) => {
                let mut arguments = self.arguments(list, byte)?;
                let type_ = arguments.pop().map_or(Type::Unknown, |argument| argument.type_);
                Scalar::new(Node::Constant(Value::Int(i64::from(type_.oid()))), Type::Regtype)
            }
            _ => return Ok(None),
        };
        Ok(Some(scalar))
    }

    fn variadic_common(
        &mut self,
        context: &str,
        arguments: Vec<Scalar>,
        make: impl FnOnce(Vec<Scalar>) -> Node,
    ) -> Result<Option<Scalar>, Error> {
        let type_ = {
            let all: Vec<&Scalar> = arguments.iter().collect();
            self.common_type(context, &all)?
        };
        let mut coerced = Vec::with_capacity(arguments.len());
        for argument in arguments {
            coerced.push(self.coerce(argument, type_)?);
        }
        Ok(Some(Scalar::new(make(coerced), type_)))
    }

    /// GREATEST and LEAST leave NULLs out, which SQLite's max and min of several arguments do not.
    fn extreme(&mut self, name: &str, list: &[FunctionArg], byte: Option<usize>) -> Result<Option<Scalar>, Error> {
        let arguments = self.arguments(list, byte)?;
        let context = name.to_uppercase();
        let operator = if name == "greatest" { ">=" } else { "<=" };
        let Some(first) = self.variadic_common(&context, arguments, Node::Row)? else { return Ok(None) };
        let (Node::Row(mut items), type_) = (first.node, first.type_) else { return Ok(None) };
        // What gives another value each time is computed once a row.
        if items.len() > EXTREME_CASES_MAX || items.iter().any(super::volatile::has_volatile) {
            return Ok(Some(extreme_of_rows(items, type_, name == "greatest")));
        }
        let mut best = items.remove(0);
        for item in items {
            let wins = self.operator(operator, Some(best.clone()), item.clone(), byte)?;
            let missing = Scalar::new(Node::IsNull { argument: Box::new(item.clone()), negated: false }, Type::Bool);
            let keep = Scalar::new(Node::Or(vec![missing, wins]), Type::Bool);
            let node = Node::Case { branches: vec![(keep, best)], otherwise: Some(Box::new(item)) };
            best = Scalar::new(node, type_);
        }
        Ok(Some(best))
    }

    /// A scalar function by its SQL name.
    pub(super) fn call(&mut self, name: &str, arguments: Vec<Scalar>, byte: Option<usize>) -> Result<Scalar, Error> {
        let (function, declared) = self.choose_function(name, &arguments, byte)?;
        if function.kind == FunctionKind::Aggregate {
            return Err(self.error_at(Error::internal(format!("{name} is an aggregate")), byte));
        }
        let (mut arguments, result) = self.settle_arguments(function, arguments, &declared)?;
        if function.typed {
            let oids: Vec<u32> = arguments.iter().map(|argument| argument.type_.oid()).collect();
            arguments.extend(oids.into_iter().map(|oid| Scalar::integer(i64::from(oid))));
        }
        Ok(Scalar::call(function.emit, arguments, result))
    }

    fn settle_arguments(
        &mut self,
        function: &Function,
        arguments: Vec<Scalar>,
        declared: &[Type],
    ) -> Result<(Vec<Scalar>, Type), Error> {
        let mut settled = Vec::with_capacity(arguments.len());
        for (argument, type_) in arguments.into_iter().zip(declared) {
            settled.push(self.settle(argument, *type_)?);
        }
        let polymorphic = |wanted: Type| {
            declared.iter().zip(&settled).find(|(declared, _)| **declared == wanted).map(|(_, argument)| argument.type_)
        };
        let element = polymorphic(Type::AnyElement).or_else(|| polymorphic(Type::AnyArray).and_then(Type::element));
        let result = match function.result {
            Type::AnyElement => element.unwrap_or(Type::Text),
            Type::AnyArray => {
                polymorphic(Type::AnyArray).or_else(|| element.and_then(Type::array)).unwrap_or(Type::TextArray)
            }
            known => known,
        };
        Ok((settled, result))
    }

    /// The overload that is meant, and the types it declares for just these arguments.
    fn choose_function(
        &self,
        name: &str,
        arguments: &[Scalar],
        byte: Option<usize>,
    ) -> Result<(&'static Function, Vec<Type>), Error> {
        let actual: Vec<Type> = arguments.iter().map(|argument| argument.type_).collect();
        let overloads = functions::by_name(name);
        let mut fitting = Vec::new();
        for function in overloads {
            let fixed = function.arguments.len();
            if fixed == actual.len() || (function.variadic.is_some() && actual.len() >= fixed) {
                let mut declared = function.arguments.to_vec();
                declared.resize(actual.len(), function.variadic.unwrap_or(Type::Any));
                fitting.push((function, declared));
            }
        }
        let candidates: Vec<Vec<Type>> = fitting.iter().map(|(_, declared)| declared.clone()).collect();
        match choose(&candidates, &actual) {
            Ok(Some(chosen)) => Ok(fitting.swap_remove(chosen)),
            Ok(None) => Err(self.error_at(no_function(name, &actual), byte)),
            Err(()) => {
                let message = format!("function {} is not unique", written(name, &actual));
                let error = Error::new(Condition::AmbiguousFunction, message)
                    .hint("Could not choose a best candidate function. You might need to add explicit type casts.");
                Err(self.error_at(error, byte))
            }
        }
    }

    fn aggregate(
        &mut self,
        call: &ast::Function,
        name: &str,
        list: &[FunctionArg],
        clauses: &[ast::FunctionArgumentClause],
        distinct: bool,
        star: bool,
    ) -> Result<Scalar, Error> {
        let byte = start(&call.name);
        self.check_aggregate_allowed(call.over.is_some(), byte)?;
        // Arguments of an aggregate see columns, and no further aggregate; those of a window function see aggregates.
        let nested = if call.over.is_some() { NESTED_WINDOW } else { NESTED_AGGREGATE };
        let outer = self.aggregates_refused.replace(nested);
        let bound = self.aggregate_parts(call, name, list, clauses, distinct, star);
        self.aggregates_refused = outer;
        let (aggregate, type_) = bound?;
        if aggregate.over.is_none() {
            self.aggregates_seen = true;
        }
        // The length that a value of character(n) is padded to is not stored with it.
        let typmod = match aggregate.arguments.first() {
            Some(first) if type_ == Type::Bpchar => first.typmod,
            _ => -1,
        };
        Ok(Scalar { node: Node::Aggregate(Box::new(aggregate)), type_, typmod })
    }

    fn aggregate_parts(
        &mut self,
        call: &ast::Function,
        name: &str,
        list: &[FunctionArg],
        clauses: &[ast::FunctionArgumentClause],
        distinct: bool,
        star: bool,
    ) -> Result<(Aggregate, Type), Error> {
        let byte = start(&call.name);
        let arguments = if star { Vec::new() } else { self.arguments(list, byte)? };
        let (emit, mut arguments, type_, typed) = match window_function(name) {
            Some(type_) if call.over.is_some() => self.window_call(name, arguments, type_)?,
            _ => {
                let (function, declared) = self.choose_function(name, &arguments, byte)?;
                if function.kind != FunctionKind::Aggregate {
                    let message =
                        format!("OVER specified, but {name} is not a window function nor an aggregate function");
                    return Err(self.error_at(Error::new(Condition::WrongObjectType, message), byte));
                }
                if name == "count" && arguments.is_empty() && !star {
                    let message = "count(*) must be used to call a parameterless aggregate function";
                    return Err(self.error_at(Error::new(Condition::WrongObjectType, message), byte));
                }
                let (arguments, result) = self.settle_arguments(function, arguments, &declared)?;
                if name == "array_agg"
                    && let Some(argument) = arguments.first()
                    && (argument.type_.is_array() || argument.type_.array().is_none())
                {
                    let what = format!("array_agg over {}", argument.type_.name());
                    return Err(self.error_at(Error::unsupported(what), byte));
                }
                if arguments.iter().any(|argument| matches!(argument.node, Node::Row(_))) {
                    return Err(self.error_at(Error::unsupported("a row as an aggregate's argument"), byte));
                }
                (function.emit, arguments, result, function.typed)
            }
        };
        if typed {
            let oids: Vec<u32> = arguments.iter().map(|argument| argument.type_.oid()).collect();
            arguments.extend(oids.into_iter().map(|oid| Scalar::integer(i64::from(oid))));
        }
        let mut order = Vec::new();
        for clause in clauses {
            match clause {
                ast::FunctionArgumentClause::OrderBy(keys) => order = self.order_keys(keys)?,
                _ => return Err(self.error_at(Error::unsupported("this clause of an aggregate"), byte)),
            }
        }
        let filter = match &call.filter {
            Some(filter) => {
                let bound = self.expression(filter)?;
                Some(self.truth(bound, "FILTER", start(&**filter))?)
            }
            None => None,
        };
        let over = match &call.over {
            Some(ast::WindowType::WindowSpec(spec)) => Some(self.window(spec)?),
            Some(ast::WindowType::NamedWindow(window)) => Some(self.named_window(window)?),
            None => None,
        };
        let mut aggregate = Aggregate { emit, distinct, star, arguments, order, filter, over };
        self.gather_once(&mut aggregate, byte)?;
        Ok((aggregate, type_))
    }

    /// DISTINCT of an aggregate that keeps what it gathers: it sorts by itself, and leaves out what it has.
    fn gather_once(&self, aggregate: &mut Aggregate, byte: Option<usize>) -> Result<(), Error> {
        let Emit::Call(call) = aggregate.emit else { return Ok(()) };
        let (true, Some(once)) = (aggregate.distinct, functions::aggregates::distinct(call)) else { return Ok(()) };
        let descending = match aggregate.order.as_slice() {
            [] => false,
            [Order { key: OrderKey::Expression(key), descending, nulls_first }]
                if Some(key) == aggregate.arguments.first() && nulls_first == descending =>
            {
                *descending
            }
            [Order { key: OrderKey::Expression(key), .. }] if Some(key) == aggregate.arguments.first() => {
                return Err(self.error_at(Error::unsupported("this order of an aggregate with DISTINCT"), byte));
            }
            _ => {
                let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
                return Err(self.error_at(Error::new(Condition::InvalidColumnReference, message), byte));
            }
        };
        aggregate.emit = Emit::Call(once);
        aggregate.distinct = false;
        aggregate.order = Vec::new();
        aggregate.arguments.push(Scalar::integer(i64::from(descending)));
        Ok(())
    }

    fn window_call(
        &mut self,
        name: &str,
        arguments: Vec<Scalar>,
        type_: Option<Type>,
    ) -> Result<(Emit, Vec<Scalar>, Type, bool), Error> {
        let mut settled = Vec::with_capacity(arguments.len());
        for (at, argument) in arguments.into_iter().enumerate() {
            settled.push(if at == 0 { self.known(argument)? } else { argument });
        }
        let type_ = type_.or_else(|| settled.first().map(|first| first.type_)).unwrap_or(Type::Int8);
        let Some(native) = WINDOW_FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(known, _)| *known) else {
            return Err(Error::internal("a window function without a name"));
        };
        Ok((Emit::Native(native), settled, type_, false))
    }

    pub(super) fn order_keys(&mut self, keys: &[ast::OrderByExpr]) -> Result<Vec<Order>, Error> {
        let mut order = Vec::with_capacity(keys.len());
        for key in keys {
            let bound = self.expression(&key.expr)?;
            let scalar = self.known(bound)?;
            let (descending, nulls_first) = self.direction(key)?;
            order.push(Order { key: OrderKey::Expression(scalar), descending, nulls_first });
        }
        Ok(order)
    }

    /// PostgreSQL's default: NULLs sort as if larger than anything.
    pub(super) fn direction(&self, key: &ast::OrderByExpr) -> Result<(bool, bool), Error> {
        if key.with_fill.is_some() {
            return Err(self.refused("WITH FILL", &key.expr));
        }
        let descending = match &key.options.sort {
            None => false,
            Some(ast::OrderBySort::Asc) => false,
            Some(ast::OrderBySort::Desc) => true,
            Some(ast::OrderBySort::Using(_)) => return Err(self.refused("ORDER BY … USING", &key.expr)),
        };
        Ok((descending, key.options.nulls_first.unwrap_or(descending)))
    }

    fn check_aggregate_allowed(&self, window: bool, byte: Option<usize>) -> Result<(), Error> {
        let Some(why) = self.aggregates_refused else { return Ok(()) };
        let error = match (window, why) {
            (false, why) if why.starts_with("window") => return Ok(()),
            (false, why) => Error::new(Condition::GroupingError, why),
            (true, NESTED_AGGREGATE) => {
                Error::new(Condition::GroupingError, "aggregate function calls cannot contain window function calls")
            }
            (true, why) => {
                Error::new(Condition::WindowingError, why.replace("aggregate functions", "window functions"))
            }
        };
        Err(self.error_at(error, byte))
    }

    /// `array(select …)`.
    fn array_of_query(&mut self, query: &ast::Query) -> Result<Scalar, Error> {
        let byte = start(query);
        let query = self.subquery(query)?;
        let [column] = query.columns.as_slice() else {
            let error = Error::new(Condition::SyntaxError, "subquery must return only one column");
            return Err(self.error_at(error, byte));
        };
        let (type_, typmod) = (column.type_, column.typmod);
        let Some(array) = type_.array() else {
            let message = format!("could not find array type for data type {}", type_.name());
            return Err(self.error_at(Error::new(Condition::UndefinedObject, message), byte));
        };
        let table = self.next_table();
        let element = Scalar {
            node: Node::Column { table, name: "c1".to_owned(), not_null: false, origin: None },
            type_,
            typmod,
        };
        let declared = vec![element, Scalar::integer(i64::from(type_.oid()))];
        let aggregate = Aggregate {
            emit: Emit::Call("pg_agg_array"),
            distinct: false,
            star: false,
            arguments: declared,
            order: Vec::new(),
            filter: None,
            over: None,
        };
        let gathered = Scalar::new(Node::Aggregate(Box::new(aggregate)), array);
        let empty = Scalar::new(Node::Constant(Value::Text("{}".to_owned())), array);
        let whole = Scalar::call(Emit::Native("coalesce"), vec![gathered, empty], array);
        let query = super::query::over_derived(table, query, whole);
        Ok(Scalar::new(Node::Subquery(Box::new(query)), array))
    }
}

/// Window functions that SQLite has just so; `None` as type: their first argument's.
const WINDOW_FUNCTIONS: &[(&str, Option<Type>)] = &[
    ("row_number", Some(Type::Int8)),
    ("rank", Some(Type::Int8)),
    ("dense_rank", Some(Type::Int8)),
    ("percent_rank", Some(Type::Float8)),
    ("cume_dist", Some(Type::Float8)),
    ("ntile", Some(Type::Int4)),
    ("lag", None),
    ("lead", None),
    ("first_value", None),
    ("last_value", None),
    ("nth_value", None),
];

fn window_function(name: &str) -> Option<Option<Type>> {
    WINDOW_FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, type_)| *type_)
}

fn written(name: &str, types: &[Type]) -> String {
    let types: Vec<_> = types.iter().map(|type_| type_.name()).collect();
    format!("{name}({})", types.join(", "))
}

fn no_function(name: &str, types: &[Type]) -> Error {
    if functions::by_name(name).is_empty() && functions::known::is_known(name) {
        return Error::unsupported(format!("function {}", written(name, types)));
    }
    Error::new(Condition::UndefinedFunction, format!("function {} does not exist", written(name, types)))
        .hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

/// GREATEST or LEAST as the first row of a sorted list.
fn extreme_of_rows(items: Vec<Scalar>, type_: Type, greatest: bool) -> Scalar {
    let column = OutputColumn { name: "column1".to_owned(), type_, typmod: -1, origin: None, not_null: false };
    let rows = items.into_iter().map(|item| vec![item]).collect();
    let query = Query {
        ctes: Vec::new(),
        body: Body::Values(rows),
        order: vec![Order { key: OrderKey::Output(0), descending: greatest, nulls_first: false }],
        limit: Some(Scalar::integer(1)),
        offset: None,
        columns: vec![column],
    };
    Scalar::new(Node::Subquery(Box::new(query)), type_)
}
