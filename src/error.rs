//! The error a client is told of: PostgreSQL's condition names, its fields, nothing else.
//!
//! This module owns the one table from condition to SQLSTATE. It does no I/O, formats no packet (that is
//! `protocol`) and logs nothing: an error is logged where it is handled.

use std::fmt;

/// Defines [`Condition`] together with its five-character codes, so that the two cannot drift apart.
macro_rules! conditions {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// A condition name of PostgreSQL 15, Appendix A ("PostgreSQL Error Codes").
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Condition { $(#[doc = $code] $name,)* }

        impl Condition {
            /// The SQLSTATE: five characters, digits and upper-case letters.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Every condition this server can report, in order of code.
            pub const ALL: &'static [Condition] = &[$(Self::$name,)*];
        }
    };
}

conditions! {
    SuccessfulCompletion = "00000",
    Warning = "01000",
    StringDataRightTruncationWarning = "01004",
    PrivilegeNotRevoked = "01006",
    PrivilegeNotGranted = "01007",
    FeatureNotSupported = "0A000",
    ProtocolViolation = "08P01",
    ConnectionDoesNotExist = "08003",
    ConnectionFailure = "08006",
    CardinalityViolation = "21000",
    StringDataRightTruncation = "22001",
    NullValueNotAllowed = "22004",
    InvalidPrecedingOrFollowingSize = "22013",
    NumericValueOutOfRange = "22003",
    DatetimeFieldOverflow = "22008",
    InvalidDatetimeFormat = "22007",
    InvalidTimeZoneDisplacementValue = "22009",
    SubstringError = "22011",
    DivisionByZero = "22012",
    IntervalFieldOverflow = "22015",
    InvalidArgumentForLogarithm = "2201E",
    InvalidArgumentForPowerFunction = "2201F",
    InvalidRowCountInLimitClause = "2201W",
    InvalidRowCountInResultOffsetClause = "2201X",
    CharacterNotInRepertoire = "22021",
    InvalidParameterValue = "22023",
    InvalidUseOfEscapeCharacter = "2200C",
    InvalidRegularExpression = "2201B",
    InvalidEscapeSequence = "22025",
    InvalidTextRepresentation = "22P02",
    InvalidBinaryRepresentation = "22P03",
    BadCopyFileFormat = "22P04",
    UntranslatableCharacter = "22P05",
    ArraySubscriptError = "2202E",
    InvalidJsonText = "22030",
    SequenceGeneratorLimitExceeded = "2200H",
    IntegrityConstraintViolation = "23000",
    RestrictViolation = "23001",
    NotNullViolation = "23502",
    ForeignKeyViolation = "23503",
    UniqueViolation = "23505",
    CheckViolation = "23514",
    InvalidCursorState = "24000",
    InvalidTransactionState = "25000",
    ActiveSqlTransaction = "25001",
    ReadOnlySqlTransaction = "25006",
    NoActiveSqlTransaction = "25P01",
    InFailedSqlTransaction = "25P02",
    IdleInTransactionSessionTimeout = "25P03",
    InvalidSqlStatementName = "26000",
    InvalidAuthorizationSpecification = "28000",
    InvalidPassword = "28P01",
    DependentObjectsStillExist = "2BP01",
    InvalidTransactionTermination = "2D000",
    InvalidCursorName = "34000",
    InvalidSavepointSpecification = "3B001",
    InvalidCatalogName = "3D000",
    InvalidSchemaName = "3F000",
    TransactionRollback = "40000",
    SerializationFailure = "40001",
    DeadlockDetected = "40P01",
    SyntaxErrorOrAccessRuleViolation = "42000",
    SyntaxError = "42601",
    InsufficientPrivilege = "42501",
    CannotCoerce = "42846",
    GroupingError = "42803",
    WindowingError = "42P20",
    InvalidGrantOperation = "0LP01",
    InvalidRecursion = "42P19",
    InvalidForeignKey = "42830",
    InvalidName = "42602",
    NameTooLong = "42622",
    ReservedName = "42939",
    DatatypeMismatch = "42804",
    IndeterminateDatatype = "42P18",
    CollationMismatch = "42P21",
    IndeterminateCollation = "42P22",
    WrongObjectType = "42809",
    UndefinedColumn = "42703",
    UndefinedFunction = "42883",
    UndefinedTable = "42P01",
    UndefinedParameter = "42P02",
    UndefinedObject = "42704",
    DuplicateColumn = "42701",
    DuplicateCursor = "42P03",
    DuplicateDatabase = "42P04",
    DuplicateFunction = "42723",
    DuplicatePreparedStatement = "42P05",
    DuplicateSchema = "42P06",
    DuplicateTable = "42P07",
    DuplicateAlias = "42712",
    DuplicateObject = "42710",
    AmbiguousColumn = "42702",
    AmbiguousFunction = "42725",
    AmbiguousParameter = "42P08",
    AmbiguousAlias = "42P09",
    InvalidColumnReference = "42P10",
    InvalidColumnDefinition = "42611",
    InvalidCursorDefinition = "42P11",
    InvalidDatabaseDefinition = "42P12",
    InvalidFunctionDefinition = "42P13",
    InvalidPreparedStatementDefinition = "42P14",
    InvalidSchemaDefinition = "42P15",
    InvalidTableDefinition = "42P16",
    InvalidObjectDefinition = "42P17",
    WithCheckOptionViolation = "44000",
    InsufficientResources = "53000",
    DiskFull = "53100",
    OutOfMemory = "53200",
    TooManyConnections = "53300",
    ConfigurationLimitExceeded = "53400",
    ProgramLimitExceeded = "54000",
    StatementTooComplex = "54001",
    TooManyColumns = "54011",
    TooManyArguments = "54023",
    ObjectNotInPrerequisiteState = "55000",
    ObjectInUse = "55006",
    CantChangeRuntimeParam = "55P02",
    LockNotAvailable = "55P03",
    OperatorIntervention = "57000",
    QueryCanceled = "57014",
    AdminShutdown = "57P01",
    CrashShutdown = "57P02",
    CannotConnectNow = "57P03",
    DatabaseDropped = "57P04",
    IdleSessionTimeout = "57P05",
    SystemError = "58000",
    IoError = "58030",
    UndefinedFile = "58P01",
    DuplicateFile = "58P02",
    ConfigFileError = "F0000",
    LockFileExists = "F0001",
    InternalError = "XX000",
    DataCorrupted = "XX001",
    IndexCorrupted = "XX002",
}

/// What went wrong, in the fields of an ErrorResponse or NoticeResponse.
///
/// The severity is not part of it: whether an error ends the session is decided by whoever reports it.
/// Boxed, so that a `Result` on a hot path stays one word wide beside its value.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Fields>);

/// The fields of an [`Error`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// Chooses the SQLSTATE.
    pub condition: Condition,
    /// The primary message, in PostgreSQL's wording: no capital, no full stop.
    pub message: String,
    /// A full sentence with particulars.
    pub detail: Option<String>,
    /// A full sentence of advice.
    pub hint: Option<String>,
    /// 1-based character (not byte) index into the statement's text.
    pub position: Option<usize>,
    /// Context of the error, for example the line of a COPY.
    pub context: Option<String>,
    /// Schema of the object concerned.
    pub schema: Option<String>,
    /// Table concerned.
    pub table: Option<String>,
    /// Column concerned.
    pub column: Option<String>,
    /// Constraint that was violated.
    pub constraint: Option<String>,
    /// Where in its source another server has raised it: file, line, routine.
    pub source: Option<[String; 3]>,
}

impl Error {
    /// An error with nothing but its condition and primary message.
    pub fn new(condition: Condition, message: impl Into<String>) -> Self {
        Self(Box::new(Fields {
            condition,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
            schema: None,
            table: None,
            column: None,
            constraint: None,
            source: None,
        }))
    }

    /// `0A000`: the named feature is not there (yet).
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(Condition::FeatureNotSupported, format!("{what} is not supported"))
    }

    /// `XX000`: an invariant of ours does not hold.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Condition::InternalError, message)
    }

    /// Adds the DETAIL line.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds the HINT line.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the position: a 1-based character index into the statement's text.
    pub fn position(mut self, position: usize) -> Self {
        self.0.position = Some(position);
        self
    }

    /// Adds the CONTEXT line.
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.0.context = Some(context.into());
        self
    }

    /// Names the table concerned, in schema `schema`.
    pub fn table(mut self, schema: impl Into<String>, table: impl Into<String>) -> Self {
        self.0.schema = Some(schema.into());
        self.0.table = Some(table.into());
        self
    }

    /// Names the column concerned.
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.0.column = Some(column.into());
        self
    }

    /// Names the constraint that was violated.
    pub fn constraint(mut self, constraint: impl Into<String>) -> Self {
        self.0.constraint = Some(constraint.into());
        self
    }

    /// All fields.
    pub fn fields(&self) -> &Fields {
        &self.0
    }

    /// All fields, to be changed: the session shifts positions of later statements of one message.
    pub fn fields_mut(&mut self) -> &mut Fields {
        &mut self.0
    }

    /// The condition.
    pub fn condition(&self) -> Condition {
        self.0.condition
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.message, self.0.condition.code())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_is_five_characters_and_unique() {
        let mut seen = HashSet::new();
        for condition in Condition::ALL {
            let code = condition.code();
            assert_eq!(code.len(), 5, "{condition:?}");
            assert!(code.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()), "{condition:?}");
            assert!(seen.insert(code), "{condition:?} repeats {code}");
        }
    }
}
