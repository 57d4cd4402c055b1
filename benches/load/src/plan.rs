//! What one visitor will do and when, drawn when he comes, so that nothing of it depends on the answers.

use std::time::Duration;

use crate::{
    catalog::Catalog,
    random::{Dice, Weighted},
    scenario::{Scenario, Step, VisitorKind, What},
};

/// Nobody thinks longer than this many times the mean.
const THINK_MAX: f64 = 8.0;

/// Pages of the list that people turn to.
const LIST_PAGES: usize = 3;

/// Who buys a product takes one of which there were so many at the start.
const STOCK_MIN: i64 = 10;

/// A request that a visitor means to make. Numbers are positions in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Home,
    Products(usize),
    Category(usize),
    Product(usize),
    Search(String),
    Add(usize),
    Cart,
    CheckoutForm,
    Checkout,
    Order,
    StyleSheet,
    Image(usize),
    ApiProducts(usize),
    ApiProduct(usize),
    ApiCart(usize),
    ApiOrder(usize),
    Get(String),
}

impl Action {
    /// The kind of step, for tables.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Home => "home",
            Self::Products(_) => "products",
            Self::Category(_) => "category",
            Self::Product(_) => "product",
            Self::Search(_) => "search",
            Self::Add(_) => "add",
            Self::Cart => "cart",
            Self::CheckoutForm => "checkout-form",
            Self::Checkout => "checkout",
            Self::Order => "order",
            Self::StyleSheet => "style-sheet",
            Self::Image(_) => "image",
            Self::ApiProducts(_) => "api-products",
            Self::ApiProduct(_) => "api-product",
            Self::ApiCart(_) => "api-cart",
            Self::ApiOrder(_) => "api-order",
            Self::Get(_) => "get",
        }
    }

    /// Whether it changes nothing in the shop.
    pub(crate) fn is_safe(&self) -> bool {
        !matches!(
            self,
            Self::Add(_) | Self::Checkout | Self::ApiCart(_) | Self::ApiOrder(_)
        )
    }

    /// Whether it is a page that shows pictures.
    pub(crate) fn is_page(&self) -> bool {
        matches!(
            self,
            Self::Home
                | Self::Products(_)
                | Self::Category(_)
                | Self::Product(_)
                | Self::Search(_)
                | Self::Cart
        )
    }
}

/// A step and its time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Planned {
    /// From the visitor's arrival.
    pub(crate) at: Duration,
    pub(crate) action: Action,
    /// When to give up.
    pub(crate) abandon: Option<Duration>,
}

/// What all visitors of a scenario choose from.
pub(crate) struct Choices {
    popularity: Weighted,
    /// Positions of products that can be bought, by popularity.
    in_stock: Vec<usize>,
    in_stock_popularity: Weighted,
}

impl Choices {
    /// Of this shop.
    pub(crate) fn new(scenario: &Scenario, catalog: &Catalog) -> Self {
        let in_stock: Vec<usize> = (0..catalog.products.len())
            .filter(|i| catalog.products[*i].stock >= STOCK_MIN)
            .collect();
        Self {
            popularity: Weighted::zipf(catalog.products.len(), scenario.zipf),
            in_stock_popularity: Weighted::zipf(in_stock.len(), scenario.zipf),
            in_stock,
        }
    }

    /// The steps of one visitor.
    pub(crate) fn plan(
        &self,
        kind: &VisitorKind,
        catalog: &Catalog,
        dice: &mut Dice,
    ) -> Vec<Planned> {
        let mut drawing = Drawing {
            choices: self,
            kind,
            catalog,
            dice,
            at: Duration::ZERO,
            planned: Vec::new(),
            looked_at: None,
        };
        for step in &kind.steps {
            if drawing.dice.unit() >= step.chance {
                continue;
            }
            for _ in 0..step.times.draw(drawing.dice) {
                drawing.step(step);
            }
        }
        drawing.planned
    }
}

struct Drawing<'a> {
    choices: &'a Choices,
    kind: &'a VisitorKind,
    catalog: &'a Catalog,
    dice: &'a mut Dice,
    at: Duration,
    planned: Vec<Planned>,
    /// The product he looked at last.
    looked_at: Option<usize>,
}

impl Drawing<'_> {
    fn step(&mut self, step: &Step) {
        if !self.planned.is_empty() {
            self.think(step);
        }
        let action = match step.what {
            What::Home => Action::Home,
            What::Products => Action::Products(1 + self.dice.below(LIST_PAGES)),
            What::Category => Action::Category(self.dice.below(self.catalog.categories.len())),
            What::Product => {
                let product = self.choices.popularity.draw(self.dice);
                self.looked_at = Some(product);
                Action::Product(product)
            }
            What::Reload => match self.planned.last() {
                Some(last) if last.action.is_safe() => last.action.clone(),
                _ => Action::Home,
            },
            What::Search => Action::Search(self.words()),
            What::Add => Action::Add(self.wanted()),
            What::Cart => Action::Cart,
            What::Checkout => Action::CheckoutForm,
            What::StyleSheet => Action::StyleSheet,
            What::Image => Action::Image(self.choices.popularity.draw(self.dice)),
            What::ApiProducts => Action::ApiProducts(1 + self.dice.below(LIST_PAGES)),
            What::ApiProduct => Action::ApiProduct(self.choices.popularity.draw(self.dice)),
            What::ApiCart => Action::ApiCart(self.wanted()),
            What::ApiOrder => Action::ApiOrder(self.wanted()),
            What::Get => Action::Get(step.path.clone().unwrap_or_default()),
        };
        let follows = match action {
            Action::Add(_) => Some(Action::Cart),
            _ => None,
        };
        let is_checkout = action == Action::CheckoutForm;
        self.push(action, step);
        if let Some(action) = follows {
            self.push(action, step);
        }
        if is_checkout {
            self.think(step);
            self.push(Action::Checkout, step);
            self.push(Action::Order, step);
        }
    }

    fn push(&mut self, action: Action, step: &Step) {
        self.planned.push(Planned {
            at: self.at,
            action,
            abandon: step.abandon.map(|span| span.0),
        });
    }

    fn think(&mut self, step: &Step) {
        let mean = step.think.unwrap_or(self.kind.think).0;
        self.at += mean.mul_f64(self.dice.exponential().min(THINK_MAX));
    }

    /// A brand or the beginning of a name, so that something is found.
    fn words(&mut self) -> String {
        let product = self.choices.popularity.draw(self.dice);
        let count = 1 + self.dice.below(2);
        let words = self.catalog.products[product].name.split_whitespace();
        words.take(count).collect::<Vec<_>>().join(" ")
    }

    /// What he looked at, if it was there; otherwise something else.
    fn wanted(&mut self) -> usize {
        match self.looked_at {
            Some(product) if self.catalog.products[product].stock >= STOCK_MIN => product,
            _ if self.choices.in_stock.is_empty() => self.choices.popularity.draw(self.dice),
            _ => self.choices.in_stock[self.choices.in_stock_popularity.draw(self.dice)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;

    fn planned(steps: &str, seed: u64) -> Vec<Planned> {
        let text = format!(
            "name = \"x\"\nprotocols = {{ http1 = 1 }}\n[[phases]]\nseconds = 1\nrate = 1\n[[visitors]]\nname = \"a\"\n\
             share = 1\nthink = \"2s\"\n{steps}"
        );
        let scenario = Scenario::parse(&text).expect("a scenario");
        let catalog = catalog::small();
        let choices = Choices::new(&scenario, &catalog);
        choices.plan(&scenario.visitors[0], &catalog, &mut Dice::new(seed))
    }

    #[test]
    fn a_purchase_has_all_its_requests() {
        let steps = "steps = [{ do = \"product\" }, { do = \"add\" }, { do = \"checkout\" }]";
        let plan = planned(steps, 1);
        let names: Vec<_> = plan.iter().map(|p| p.action.name()).collect();
        assert_eq!(
            names,
            [
                "product",
                "add",
                "cart",
                "checkout-form",
                "checkout",
                "order"
            ]
        );
        assert_eq!(plan[0].at, Duration::ZERO);
        assert!(plan[1].at > plan[0].at && plan[4].at > plan[3].at);
        assert_eq!((plan[1].at, plan[4].at), (plan[2].at, plan[5].at));
        let Action::Product(seen) = plan[0].action else {
            panic!("{plan:?}");
        };
        assert_eq!(plan[1].action, Action::Add(seen));
    }

    #[test]
    fn the_seed_decides() {
        let steps =
            "steps = [{ do = \"product\", times = [1, 9] }, { do = \"home\", chance = 0.5 }]";
        assert_eq!(planned(steps, 1), planned(steps, 1));
        assert!((2..20).any(|seed| planned(steps, seed) != planned(steps, 1)));
    }

    #[test]
    fn reloading_asks_for_the_same_again() {
        let plan = planned(
            "steps = [{ do = \"product\" }, { do = \"reload\", times = 3, abandon = \"50ms\" }]",
            1,
        );
        assert_eq!(plan.len(), 4);
        assert!(plan.iter().all(|p| p.action == plan[0].action));
        assert_eq!(plan[3].abandon, Some(Duration::from_millis(50)));
    }
}
