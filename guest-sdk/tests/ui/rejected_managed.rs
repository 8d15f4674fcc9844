use wasmp_guest::managed;

struct Made;

#[managed]
impl Made {
    pub fn make() -> Self {
        Self
    }
}

struct Wrong;

#[managed]
impl Wrong {
    pub fn new(self) -> Self {
        Self
    }
}

struct Methods;

#[managed]
impl Methods {
    pub fn new() -> Self {
        Self
    }

    pub fn consumed(self) {}

    pub fn boxed(self: Box<Self>) {}

    pub async fn later(&self) {}

    pub fn generic<T>(&self, _value: T) {}

    pub fn lent(&self, text: &String, (a, b): (i64, i64)) -> impl Sized {
        (text.len(), a, b)
    }

    pub unsafe fn dangerous(&self) {}
}

struct Generic<T>(T);

#[managed]
impl<T> Generic<T> {
    pub fn new() -> Self {
        todo!()
    }
}

struct Optioned;

#[managed(name = "o")]
impl Optioned {
    pub fn new() -> Self {
        Self
    }
}

#[managed]
impl Default for Optioned {
    fn default() -> Self {
        Self
    }
}

#[managed]
fn function() {}

type Outcome<T> = Result<T, String>;

struct Aliased;

#[managed]
impl Aliased {
    pub fn new() -> i64 {
        7
    }

    pub fn alias(&self) -> Outcome<i64> {
        Ok(1)
    }
}

fn main() {}
