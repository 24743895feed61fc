//! Roles of the holders of tokens, and what each may do.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// Reads.
    View,
    /// Uploads, orders, cancels, and changes what belongs to terminals.
    Operate,
    /// Approves what another has planned.
    Approve,
    /// Changes who or what takes part.
    Administer,
}

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads everything
    Viewer,
    /// Reads, uploads, orders and cancels
    Operator,
    /// Reads and approves what others have planned
    Approver,
    /// Does everything
    Administrator,
}

impl Role {
    /// Returns what the role may do.
    pub fn acts(self) -> &'static [Act] {
        match self {
            Role::Viewer => &[Act::View],
            Role::Operator => &[Act::View, Act::Operate],
            Role::Approver => &[Act::View, Act::Approve],
            Role::Administrator => &[Act::View, Act::Operate, Act::Approve, Act::Administer],
        }
    }

    /// Tells whether the role may do this.
    pub fn may(self, act: Act) -> bool {
        self.acts().contains(&act)
    }

    /// Returns the names of the roles that may do this, for people.
    pub fn that_may(act: Act) -> String {
        names(Role::value_variants().iter().filter(|role| role.may(act))).join(" or ")
    }
}

fn names<'r>(roles: impl Iterator<Item = &'r Role>) -> Vec<String> {
    roles.map(Role::to_string).collect()
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        formatter.pad(value.as_ref().map_or("", |value| value.get_name()))
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Role as ValueEnum>::from_str(text, false).map_err(|_| {
            let names = names(Role::value_variants().iter()).join(", ");
            format!("'{text}' is no role: give {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_its_name_says() {
        use Act::{Administer, Approve, Operate, View};
        let may = |role: Role| [View, Operate, Approve, Administer].map(|act| role.may(act));
        assert_eq!(may(Role::Viewer), [true, false, false, false]);
        assert_eq!(may(Role::Operator), [true, true, false, false]);
        assert_eq!(may(Role::Approver), [true, false, true, false]);
        assert_eq!(may(Role::Administrator), [true; 4]);
        assert_eq!(Role::that_may(Approve), "approver or administrator");
        for role in Role::value_variants() {
            assert_eq!(role.to_string().parse(), Ok(*role));
            assert_eq!(serde_json::json!(role), role.to_string());
        }
        let error = "Viewer".parse::<Role>().unwrap_err();
        assert!(error.contains("viewer, operator, approver, administrator"));
    }
}
