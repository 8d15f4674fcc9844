//! Lists.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Client, Proxy};
use crate::protocol::{ANY_VERSION, END, NOWHERE, Op};
use crate::{ManagerError, count, flag, item, items, proxy, told};

/// A list in a manager. All clones are the same list, in whatever process. CPython: `SyncManager.list`.
///
/// Each method is one request, which the manager serves as a whole before the next. Values that come out are copies; a
/// managed object as a value is that object. Places are counted as in Python: from 0, or from the end if they are negative,
/// where -1 is the last.
pub struct List<T, C: Client> {
    pub(crate) proxy: Proxy<C>,
    of: PhantomData<fn() -> T>,
}

proxy!(List[T], proxy);

impl<T, C: Client> List<T, C> {
    /// The one that this is a way to.
    pub(crate) fn of(proxy: Proxy<C>) -> Self {
        Self { proxy, of: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned, C: Client> List<T, C> {
    /// A new one with these values, in the manager that `client` reaches.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn new(client: &C, values: impl IntoIterator<Item = T>) -> Result<Self, ManagerError> {
        let proxy = Proxy::create(client, Op::NewList, |writer| items::<C>(writer, values))?;
        Ok(Self { proxy, of: PhantomData })
    }

    /// The one of this name, in the manager that `client` reaches: a new one if there was none. It stays as long as the
    /// manager.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn named(client: &C, name: &str) -> Result<Self, ManagerError> {
        let proxy = Proxy::named(client, Op::NamedList, name)?;
        Ok(Self { proxy, of: PhantomData })
    }

    /// The value at this place (CPython: `l[place]`).
    ///
    /// # Errors
    ///
    /// [`ManagerError::OutOfRange`], and the others, as from every method.
    pub fn get(&self, place: i64) -> Result<T, ManagerError> {
        self.proxy.ask(
            Op::ListGet,
            |writer| {
                writer.i64(place);
                Ok(())
            },
            |mut fields| C::decode(told(fields.item())?),
        )
    }

    /// Puts a value in the place of another (CPython: `l[place] = value`).
    ///
    /// # Errors
    ///
    /// [`ManagerError::OutOfRange`], and the others.
    pub fn set(&self, place: i64, value: &T) -> Result<(), ManagerError> {
        self.proxy.ask(
            Op::ListSet,
            |writer| {
                writer.i64(place);
                item::<C>(writer, value)
            },
            |_| Ok(()),
        )
    }

    /// Adds a value at the end (CPython: `append`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn push(&self, value: &T) -> Result<(), ManagerError> {
        self.extend_by([value])
    }

    /// Adds values at the end, all at once (CPython: `extend`, `+=`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; then nothing was changed.
    pub fn extend(&self, values: impl IntoIterator<Item = T>) -> Result<(), ManagerError> {
        self.extend_by(values)
    }

    fn extend_by(&self, values: impl IntoIterator<Item = impl Serialize>) -> Result<(), ManagerError> {
        self.proxy
            .ask(Op::ListPush, |writer| items::<C>(writer, values), |_| Ok(()))
    }

    /// Takes out the value at this place, -1 for the last (CPython: `pop`, `del`).
    ///
    /// # Errors
    ///
    /// [`ManagerError::OutOfRange`], also for any place of an empty list, and the others.
    pub fn pop(&self, place: i64) -> Result<T, ManagerError> {
        self.proxy.ask(
            Op::ListPop,
            |writer| {
                writer.i64(place);
                Ok(())
            },
            |mut fields| C::decode(told(fields.item())?),
        )
    }

    /// Puts a value in front of what is at this place; behind everything, if that is beyond the end (CPython: `insert`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn insert(&self, place: i64, value: &T) -> Result<(), ManagerError> {
        self.splice_by((place, place), [value])
    }

    /// Puts values in the place of those in a range, however many there are of each (CPython: `l[from:to] = values`, `del
    /// l[from:to]`). What is beyond the end is not there.
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; then nothing was changed.
    pub fn splice(
        &self,
        range: impl RangeBounds<i64>,
        values: impl IntoIterator<Item = T>,
    ) -> Result<(), ManagerError> {
        self.splice_by(ends(&range), values)
    }

    fn splice_by(
        &self,
        (from, to): (i64, i64),
        values: impl IntoIterator<Item = impl Serialize>,
    ) -> Result<(), ManagerError> {
        self.proxy.ask(
            Op::ListSplice,
            |writer| {
                writer.i64(from);
                writer.i64(to);
                items::<C>(writer, values)
            },
            |_| Ok(()),
        )
    }

    /// The values in a range, as they are at one moment (CPython: `l[from:to]`). What is beyond the end is not there.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn slice<S: FromIterator<T>>(&self, range: impl RangeBounds<i64>) -> Result<S, ManagerError> {
        Ok(self.versioned(ends(&range))?.1)
    }

    /// All values, as they are at one moment (CPython: `l[:]`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn items<S: FromIterator<T>>(&self) -> Result<S, ManagerError> {
        self.slice(..)
    }

    fn versioned<S: FromIterator<T>>(&self, (from, to): (i64, i64)) -> Result<(u64, S), ManagerError> {
        self.proxy.ask(
            Op::ListItems,
            |writer| {
                writer.i64(from);
                writer.i64(to);
                Ok(())
            },
            |mut fields| {
                let version = told(fields.u64())?;
                let values = told(fields.all_items())?.into_iter().map(C::decode);
                Ok((version, values.collect::<Result<_, _>>()?))
            },
        )
    }

    /// How many values there are.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn len(&self) -> Result<u64, ManagerError> {
        self.proxy.ask(Op::ListLength, |_| Ok(()), count)
    }

    /// Whether there are none.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn is_empty(&self) -> Result<bool, ManagerError> {
        Ok(self.len()? == 0)
    }

    /// Takes all values out.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn clear(&self) -> Result<(), ManagerError> {
        self.replace_all([])
    }

    /// The first place of a value, if it is there (CPython: `index`, which raises `ValueError`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn index(&self, value: &T) -> Result<Option<u64>, ManagerError> {
        let place = self
            .proxy
            .ask(Op::ListIndex, |writer| item::<C>(writer, value), count)?;
        Ok((place != NOWHERE).then_some(place))
    }

    /// How often a value is there (CPython: `count`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn count(&self, value: &T) -> Result<u64, ManagerError> {
        self.proxy.ask(Op::ListCount, |writer| item::<C>(writer, value), count)
    }

    /// Turns it round (CPython: `reverse`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn reverse(&self) -> Result<(), ManagerError> {
        self.proxy.ask(Op::ListReverse, |_| Ok(()), |_| Ok(()))
    }

    /// Makes it so many times as long, by copies of itself (CPython: `*=`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn repeat(&self, times: u64) -> Result<(), ManagerError> {
        self.proxy.ask(
            Op::ListRepeat,
            |writer| {
                writer.u64(times);
                Ok(())
            },
            |_| Ok(()),
        )
    }

    /// Sorts it, so that equal values stay in their order (CPython: `sort`).
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn sort(&self) -> Result<(), ManagerError>
    where
        T: Ord,
    {
        self.update_all(|values| values.sort())
    }

    /// Puts these in the place of everything that is there.
    ///
    /// # Errors
    ///
    /// [`ManagerError`]; then nothing was changed.
    pub fn replace_all(&self, values: impl IntoIterator<Item = T>) -> Result<(), ManagerError> {
        self.replace(ANY_VERSION, values).map(drop)
    }

    fn replace(&self, version: u64, values: impl IntoIterator<Item = T>) -> Result<bool, ManagerError> {
        self.proxy.ask(
            Op::ListReplace,
            |writer| {
                writer.u64(version);
                items::<C>(writer, values)
            },
            flag,
        )
    }

    /// Changes the whole of it: `change` gets what is there, and says what is to be there instead, once more for each time
    /// that somebody was faster. For anything that no other method does in one step.
    ///
    /// # Errors
    ///
    /// [`ManagerError`].
    pub fn update_all(&self, mut change: impl FnMut(&mut Vec<T>)) -> Result<(), ManagerError> {
        loop {
            let (version, mut values) = self.versioned((0, END))?;
            change(&mut values);
            if self.replace(version, values)? {
                return Ok(());
            }
        }
    }
}

/// The first place of a range, and the first behind it.
fn ends(range: &impl RangeBounds<i64>) -> (i64, i64) {
    let behind = |place: i64| match place {
        // Behind the last there is no place but the end.
        -1 => END,
        place => place.saturating_add(1),
    };
    let from = match range.start_bound() {
        Bound::Included(&place) => place,
        Bound::Excluded(&place) => behind(place),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(&place) => behind(place),
        Bound::Excluded(&place) => place,
        Bound::Unbounded => END,
    };
    (from, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_python() {
        assert_eq!(ends(&(..)), (0, END));
        assert_eq!(ends(&(1..3)), (1, 3));
        assert_eq!(ends(&(-3..=-1)), (-3, END));
        assert_eq!(ends(&(..=4)), (0, 5));
        assert_eq!(ends(&(-2..)), (-2, END));
    }
}
