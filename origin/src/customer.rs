//! Who an order goes to, checked field by field.

use serde::{Deserialize, Serialize};

/// What a customer typed, not yet checked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct CustomerForm {
    /// Name on the parcel.
    pub name: String,
    /// Mobile number.
    pub phone: String,
    /// Street, area and district.
    pub address: String,
}

/// A customer whose fields passed the checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Customer {
    /// Name on the parcel.
    pub name: String,
    /// Mobile number as eleven digits, `01XXXXXXXXX`.
    pub phone: String,
    /// Street, area and district.
    pub address: String,
}

/// What is wrong, to be shown beside each field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FieldErrors {
    /// About the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'static str>,
    /// About the mobile number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<&'static str>,
    /// About the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<&'static str>,
}

impl CustomerForm {
    /// Checks all fields at once.
    pub fn validate(&self) -> Result<Customer, FieldErrors> {
        let name = tidy(&self.name);
        let address = tidy(&self.address);
        let phone = mobile_number(&self.phone);
        let errors = FieldErrors {
            name: match name.chars().count() {
                0 => Some("Please enter your name."),
                1 => Some("Please enter your full name."),
                2..=80 => None,
                _ => Some("Please use at most 80 characters."),
            },
            phone: match &phone {
                Some(_) => None,
                None if self.phone.trim().is_empty() => Some("Please enter your mobile number."),
                None => Some("Please enter a Bangladeshi mobile number such as 01712 345678."),
            },
            address: match address.chars().count() {
                0 => Some("Please enter the delivery address."),
                1..=9 => Some("Please enter the full address: house, road, area and district."),
                10..=300 => None,
                _ => Some("Please use at most 300 characters."),
            },
        };
        match phone {
            Some(phone) if errors == FieldErrors::default() => Ok(Customer {
                name,
                phone,
                address,
            }),
            _ => Err(errors),
        }
    }
}

/// Collapses white space and drops control characters.
fn tidy(text: &str) -> String {
    let visible: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Reads a Bangladeshi mobile number, with or without country code, in Latin or Bengali digits.
fn mobile_number(text: &str) -> Option<String> {
    if text.chars().count() > 24 {
        return None;
    }
    let mut digits = String::new();
    for (index, c) in text.trim().chars().enumerate() {
        match c {
            '0'..='9' => digits.push(c),
            '০'..='৯' => digits.extend(char::from_digit(c as u32 - '০' as u32, 10)),
            ' ' | '-' => {}
            '+' if index == 0 => {}
            _ => return None,
        }
    }
    let local = digits.strip_prefix("88").unwrap_or(&digits);
    let operator = local.as_bytes().get(2)?;
    (local.len() == 11 && local.starts_with("01") && (b'3'..=b'9').contains(operator))
        .then(|| local.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mobile_numbers_of_bangladesh() {
        for text in [
            "01712345678",
            "01712 345-678",
            "+8801712345678",
            "880 1712 345678",
            "০১৭১২৩৪৫৬৭৮",
        ] {
            assert_eq!(
                mobile_number(text).as_deref(),
                Some("01712345678"),
                "{text}"
            );
        }
        for text in [
            "",
            "0171234567",
            "017123456789",
            "01212345678",
            "+441712345678",
            "0171234567x",
            "1712345678",
        ] {
            assert_eq!(mobile_number(text), None, "{text}");
        }
    }

    #[test]
    fn all_fields_are_checked_at_once() {
        let errors = CustomerForm {
            name: " ".into(),
            phone: "12".into(),
            address: "Dhaka".into(),
        }
        .validate();
        let errors = errors.expect_err("nothing is right");
        assert!(errors.name.is_some() && errors.phone.is_some() && errors.address.is_some());
    }

    #[test]
    fn white_space_and_control_characters_are_tidied() {
        let form = CustomerForm {
            name: "  Rahima\u{0}  Khatun ".into(),
            phone: "+880 1712-345678".into(),
            address: "House 12,\r\nRoad 5, Dhanmondi, Dhaka".into(),
        };
        let customer = form.validate().expect("valid");
        assert_eq!(customer.name, "Rahima Khatun");
        assert_eq!(customer.address, "House 12, Road 5, Dhanmondi, Dhaka");
    }
}
