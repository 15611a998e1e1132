//! The macro that writes a section twice: as read (every key may be missing) and as used (every key has a value).

/// `section! { /// doc\n Name / NamePartial { /// doc\n key: Type = default, … } }`. Keys the file does not
/// name keep what an earlier source said; unknown ones are refused by serde with their place.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident / $partial:ident {
        $($(#[$key_doc:meta])* $key:ident: $type:ty = $default:expr,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name { $($(#[$key_doc])* pub $key: $type,)* }

        #[derive(Debug, Clone, Default, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $partial { $(#[serde(default)] $key: Option<$type>,)* }

        impl $partial {
            /// Takes over what a later source says.
            pub(super) fn merge(&mut self, later: Self) {
                $(if later.$key.is_some() { self.$key = later.$key; })*
            }

            /// Fills in the defaults.
            pub(super) fn finish(self) -> $name {
                $name { $($key: self.$key.unwrap_or_else(|| $default),)* }
            }
        }
    };
}

pub(super) use section;
