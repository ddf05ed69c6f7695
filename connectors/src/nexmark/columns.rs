//! Events as columns: what [`crate::table::nexmark`] gives. Only columns and fields that are asked for are made.
//!
//! People and auctions are few, so their columns are made of records; bids are made field by field.

use std::sync::{Arc, LazyLock};

use arrow_array::builder::StringViewBuilder;
use arrow_array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray, StructArray,
    TimestampMillisecondArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use updraft_dataflow::{Batch, Error, Partition, Place, Progress, Rows, Source, Time};

use super::event::{Auction, Person};
use super::random::Random;
use super::world::{BID_NUMBERS, BidDraw, Kind, PAGES, World, page};
use super::{Nexmark, Numbers};

const PERSON: &str = "person";
const AUCTION: &str = "auction";
const BID: &str = "bid";
const EVENT_TYPE: &str = "event_type";

/// The table of the benchmark: what kind an event is of (0: person, 1: auction, 2: bid), and one column for each kind.
pub(crate) static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let row = |name: &str, fields: &[(&str, DataType)]| {
        let fields = fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true));
        Field::new(name, DataType::Struct(fields.collect()), true)
    };
    let (number, text) = (DataType::Int64, DataType::Utf8View);
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let text = |names: &[&'static str]| names.iter().map(|name| (*name, text.clone())).collect::<Vec<_>>();
    let numbers = |names: &[&'static str]| names.iter().map(|name| (*name, number.clone())).collect::<Vec<_>>();
    let times = |names: &[&'static str]| names.iter().map(|name| (*name, time.clone())).collect::<Vec<_>>();
    let of_person = ["name", "emailAddress", "creditCard", "city", "state"];
    let person = [numbers(&["id"]), text(&of_person), times(&["dateTime"]), text(&["extra"])].concat();
    let items = [numbers(&["id"]), text(&["itemName", "description"]), numbers(&["initialBid", "reserve"])].concat();
    let auction = [items, times(&["dateTime", "expires"]), numbers(&["seller", "category"]), text(&["extra"])].concat();
    let offer = [numbers(&["auction", "bidder", "price"]), text(&["channel", "url"])].concat();
    let bid = [offer, times(&["dateTime"]), text(&["extra"])].concat();
    let event_type = Field::new(EVENT_TYPE, DataType::Int32, true);
    Arc::new(Schema::new(vec![event_type, row(PERSON, &person), row(AUCTION, &auction), row(BID, &bid)]))
});

/// Finds fault with columns that are none of the benchmark's.
pub(crate) fn check(schema: &Schema) -> Result<(), Error> {
    for field in schema.fields() {
        let Some((_, known)) = SCHEMA.fields().find(field.name()) else {
            let names = "event_type INT, person ROW<…>, auction ROW<…> and bid ROW<…>";
            return Err(format!("there is no column `{}`: 'nexmark' has {names}", field.name()).into());
        };
        check_type(field.name(), field.data_type(), known.data_type())?;
    }
    Ok(())
}

fn check_type(path: &str, found: &DataType, known: &DataType) -> Result<(), Error> {
    let (DataType::Struct(fields), DataType::Struct(known)) = (found, known) else {
        let error = || format!("column `{path}` is {found}, but in 'nexmark' it is {known}").into();
        return if found == known { Ok(()) } else { Err(error()) };
    };
    for field in fields {
        let path = format!("{path}.{}", field.name());
        let Some((_, known)) = known.find(field.name()) else {
            let names: Vec<_> = known.iter().map(|field| field.name().as_str()).collect();
            return Err(format!("there is no field `{path}`: there are {}", names.join(", ")).into());
        };
        check_type(&path, field.data_type(), known.data_type())?;
    }
    Ok(())
}

/// The events of a [`Nexmark`] as rows of a schema that has been [checked](check).
pub(crate) struct NexmarkColumns {
    pub(crate) nexmark: Nexmark,
    pub(crate) schema: SchemaRef,
    /// Events of a batch.
    pub(crate) batch: usize,
    /// Whether it goes on without events when they are over.
    pub(crate) stays: bool,
}

impl Source for NexmarkColumns {
    type Item = Rows;
    type Partition = ColumnsPartition;

    fn open(self) -> Result<Vec<ColumnsPartition>, Error> {
        let mut world = self.nexmark.world();
        let has_text = |field: &Field| match field.data_type() {
            DataType::Struct(fields) => fields.iter().any(|field| *field.data_type() == DataType::Utf8View),
            _ => false,
        };
        world.has_text = self.schema.fields().iter().any(|field| field.name() != BID && has_text(field));
        let open = |numbers| ColumnsPartition {
            world: world.clone(),
            schema: self.schema.clone(),
            batch: self.batch,
            numbers,
            stays: self.stays,
        };
        Ok(self.nexmark.numbers(&world)?.into_iter().map(open).collect())
    }
}

/// One partition of them.
pub(crate) struct ColumnsPartition {
    world: World,
    schema: SchemaRef,
    batch: usize,
    numbers: Numbers,
    stays: bool,
}

impl Partition for ColumnsPartition {
    type Item = Rows;

    async fn next(&mut self, _: usize) -> Result<Option<Batch<Rows>>, Error> {
        if self.numbers.is_over() {
            return if self.stays { std::future::pending().await } else { Ok(None) };
        }
        let due = self.numbers.due(&mut self.world, self.batch.max(1)).await;
        let numbers: Vec<_> = (0..due).map_while(|_| self.numbers.step()).collect();
        let batch = Events::new(&self.world, &numbers).batch(&self.schema)?;
        Ok(Some(vec![batch.into()].into()))
    }

    fn position(&self) -> String {
        format!("nexmark:{}", self.numbers.next)
    }

    fn place(&self) -> Option<Place> {
        Some(self.numbers.place(&self.world))
    }

    fn seek(&mut self, place: Place) -> Result<(), Error> {
        self.numbers.seek(place, &mut self.world)
    }

    fn progress(&self) -> Option<Progress> {
        let Numbers { next, end, .. } = self.numbers;
        (end < u64::MAX).then(|| Progress { read: next.min(end), whole: end })
    }
}

/// Events that become columns.
struct Events<'a> {
    world: &'a World,
    numbers: &'a [u64],
    kinds: Vec<Kind>,
}

impl<'a> Events<'a> {
    fn new(world: &'a World, numbers: &'a [u64]) -> Self {
        Self { world, numbers, kinds: numbers.iter().map(|number| world.kind(*number)).collect() }
    }

    fn batch(&self, schema: &SchemaRef) -> Result<RecordBatch, Error> {
        let columns = schema.fields().iter().map(|field| self.column(field)).collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.numbers.len()));
        Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
    }

    fn column(&self, field: &Field) -> Result<ArrayRef, Error> {
        match (field.name().as_str(), field.data_type()) {
            (PERSON, DataType::Struct(fields)) => self.people(fields),
            (AUCTION, DataType::Struct(fields)) => self.auctions(fields),
            (BID, DataType::Struct(fields)) => self.bids(fields),
            _ => Ok(Arc::new(Int32Array::from_iter_values(self.kinds.iter().map(|kind| *kind as i32)))),
        }
    }

    /// The records of one kind, and nothing where there is another.
    fn records<T>(&self, kind: Kind, make: impl Fn(&World, u64) -> T) -> Vec<Option<T>> {
        let events = self.numbers.iter().zip(&self.kinds);
        events.map(|(number, found)| (*found == kind).then(|| make(self.world, *number))).collect()
    }

    fn people(&self, fields: &Fields) -> Result<ArrayRef, Error> {
        let people = self.records(Kind::Person, World::make_person);
        let column = |field: &str| match field {
            "id" => longs(&people, |person| person.id as i64),
            "dateTime" => times(&people, |person| person.date_time),
            field => texts(&people, |person| text_of_person(person, field)),
        };
        rows(fields, &people, column)
    }

    fn auctions(&self, fields: &Fields) -> Result<ArrayRef, Error> {
        let auctions = self.records(Kind::Auction, World::make_auction);
        let column = |field: &str| match field {
            "id" => longs(&auctions, |auction| auction.id as i64),
            "initialBid" => longs(&auctions, |auction| auction.initial_bid as i64),
            "reserve" => longs(&auctions, |auction| auction.reserve as i64),
            "seller" => longs(&auctions, |auction| auction.seller as i64),
            "category" => longs(&auctions, |auction| auction.category as i64),
            "dateTime" => times(&auctions, |auction| auction.date_time),
            "expires" => times(&auctions, |auction| auction.expires),
            field => texts(&auctions, |auction| text_of_auction(auction, field)),
        };
        rows(fields, &auctions, column)
    }

    fn bids(&self, fields: &Fields) -> Result<ArrayRef, Error> {
        let bids = self.records(Kind::Bid, |world, number| Offer { number, bid: world.draw_bid(number), page: 0 });
        let has = |name| fields.find(name).is_some();
        let bids = if has("channel") || has("url") || has("extra") { drawn(bids) } else { bids };
        let column = |field: &str| match field {
            "auction" => longs(&bids, |offer| offer.bid.auction as i64),
            "bidder" => longs(&bids, |offer| offer.bid.bidder as i64),
            "price" => longs(&bids, |offer| offer.bid.price.cents() as i64),
            "dateTime" => times(&bids, |offer| self.world.time(offer.number)),
            "channel" => pages(&bids, &CHANNELS),
            "url" => pages(&bids, &URLS),
            _ => fillers(&bids, self.world.sizes.bid),
        };
        rows(fields, &bids, column)
    }
}

/// A bid on its way.
struct Offer {
    number: u64,
    bid: BidDraw,
    page: usize,
}

/// Draws the pages that bids are made on.
fn drawn(mut bids: Vec<Option<Offer>>) -> Vec<Option<Offer>> {
    for offer in bids.iter_mut().flatten() {
        offer.page = page(&mut offer.bid.random);
    }
    bids
}

fn text_of_person<'a>(person: &'a Person, field: &str) -> &'a str {
    match field {
        "name" => &person.name,
        "emailAddress" => &person.email_address,
        "creditCard" => &person.credit_card,
        "city" => &person.city,
        "state" => &person.state,
        _ => &person.extra,
    }
}

fn text_of_auction<'a>(auction: &'a Auction, field: &str) -> &'a str {
    match field {
        "itemName" => &auction.item_name,
        "description" => &auction.description,
        _ => &auction.extra,
    }
}

/// Where there is a record.
fn nulls<T>(records: &[Option<T>]) -> NullBuffer {
    BooleanBuffer::collect_bool(records.len(), |row| records[row].is_some()).into()
}

/// The column of rows, of its fields.
fn rows<T>(fields: &Fields, records: &[Option<T>], column: impl Fn(&str) -> ArrayRef) -> Result<ArrayRef, Error> {
    let columns: Vec<_> = fields.iter().map(|field| column(field.name())).collect();
    let nulls = Some(nulls(records));
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, records.len())?))
}

fn longs<T>(records: &[Option<T>], value: impl Fn(&T) -> i64) -> ArrayRef {
    let values: Vec<_> = records.iter().map(|record| record.as_ref().map_or(0, &value)).collect();
    Arc::new(Int64Array::new(values.into(), Some(nulls(records))))
}

fn times<T>(records: &[Option<T>], value: impl Fn(&T) -> Time) -> ArrayRef {
    let value = |record: &T| value(record).as_millis();
    let values: Vec<_> = records.iter().map(|record| record.as_ref().map_or(0, value)).collect();
    Arc::new(TimestampMillisecondArray::new(values.into(), Some(nulls(records))))
}

fn texts<'a, T>(records: &'a [Option<T>], value: impl Fn(&'a T) -> &'a str) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(records.len());
    records.iter().for_each(|record| builder.append_option(record.as_ref().map(&value)));
    Arc::new(builder.finish())
}

/// Texts of pages, as views of the one place where they lie.
fn pages(bids: &[Option<Offer>], texts: &StringViewArray) -> ArrayRef {
    let views: Vec<_> = bids.iter().map(|bid| bid.as_ref().map_or(0, |offer| texts.views()[offer.page])).collect();
    let buffers: Vec<Buffer> = texts.data_buffers().to_vec();
    let made = StringViewArray::try_new(views.into(), buffers, Some(nulls(bids)));
    Arc::new(made.expect("views of an array that there is"))
}

static CHANNELS: LazyLock<StringViewArray> =
    LazyLock::new(|| StringViewArray::from_iter_values(PAGES.iter().map(|(channel, _)| channel)));
static URLS: LazyLock<StringViewArray> =
    LazyLock::new(|| StringViewArray::from_iter_values(PAGES.iter().map(|(_, url)| url)));

fn fillers(bids: &[Option<Offer>], average: usize) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(bids.len()).with_fixed_block_size(1 << 20);
    let mut letters = Vec::new();
    for bid in bids {
        let Some(offer) = bid else {
            builder.append_null();
            continue;
        };
        let mut random: Random = offer.bid.random.clone();
        random.fill(BID_NUMBERS, average, &mut letters);
        builder.append_value(std::str::from_utf8(&letters).unwrap_or_default());
    }
    Arc::new(builder.finish())
}
