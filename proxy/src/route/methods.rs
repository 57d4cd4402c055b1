//! The methods that a route takes.

use http::Method;

/// Some methods, or any. GET takes HEAD along, since both are about one resource and one stored response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Methods(Box<[Method]>);

impl Methods {
    /// These; none means any.
    pub fn new(methods: Vec<Method>) -> Self {
        Self(methods.into())
    }

    /// Whether any will do.
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one is named, HEAD by GET.
    pub fn names(&self, method: &Method) -> bool {
        self.0.contains(method) || (*method == Method::HEAD && self.0.contains(&Method::GET))
    }

    /// Whether requests could be for either of two routes that differ by nothing else.
    pub fn overlaps(&self, other: &Self) -> bool {
        (self.is_any() && other.is_any()) || self.0.iter().any(|method| other.names(method))
    }

    /// Adds them to a list as `Allow` has it.
    pub fn put_allow(&self, out: &mut String) {
        let head = self.0.contains(&Method::GET).then_some(&Method::HEAD);
        for method in self.0.iter().chain(head) {
            let mut told = out.split(", ");
            if told.any(|told| told == method.as_str()) {
                continue;
            }
            if !out.is_empty() {
                out.push_str(", ");
            }
            out.push_str(method.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn get_takes_head_along() {
        let some = Methods::new(vec![Method::GET, Method::POST]);
        for (method, wanted) in [
            (Method::GET, true),
            (Method::HEAD, true),
            (Method::POST, true),
            (Method::PUT, false),
        ] {
            assert_eq!(some.names(&method), wanted, "{method}");
        }
        let mut allow = String::new();
        some.put_allow(&mut allow);
        Methods::new(vec![Method::HEAD, Method::PUT]).put_allow(&mut allow);
        assert_eq!(allow, "GET, POST, HEAD, PUT");
    }

    #[test]
    fn any_is_besides_some() {
        let any = Methods::default();
        let get = Methods::new(vec![Method::GET]);
        let post = Methods::new(vec![Method::POST]);
        assert!(any.overlaps(&any) && get.overlaps(&get));
        assert!(!any.overlaps(&get) && !get.overlaps(&any) && !get.overlaps(&post));
    }
}
