//! The queries: the same text for both.

/// By name.
pub(super) const ALL: [(&str, &str); 14] = [
    // Columns of Parquet alone: what reading costs.
    ("scan", "SELECT SUM(amount), MAX(price), MAX(item) FROM facts"),
    ("filter", "SELECT COUNT(*), SUM(amount) FROM facts WHERE amount < 1000 AND category <> 'category-7'"),
    ("few-groups", "SELECT category, COUNT(*), SUM(amount), MAX(price) FROM facts GROUP BY category"),
    (
        "groups",
        "SELECT COUNT(*), SUM(n), MAX(s) FROM (SELECT item, COUNT(*) AS n, SUM(amount) AS s FROM facts GROUP BY item) AS g",
    ),
    (
        "two-keys",
        "SELECT COUNT(*), SUM(n), MAX(s) FROM (
             SELECT category, user_id, COUNT(*) AS n, SUM(amount) AS s FROM facts GROUP BY category, user_id) AS g",
    ),
    (
        "text-groups",
        "SELECT COUNT(*), SUM(n), MAX(name) FROM (SELECT name, COUNT(*) AS n FROM facts GROUP BY name) AS g",
    ),
    ("distinct", "SELECT COUNT(DISTINCT user_id) FROM facts"),
    (
        "join-small",
        "SELECT u.country, COUNT(*), SUM(f.amount) FROM facts AS f JOIN users AS u ON f.user_id = u.id GROUP BY u.country",
    ),
    ("join-large", "SELECT COUNT(*), SUM(f.amount + i.weight) FROM facts AS f JOIN items AS i ON f.item = i.id"),
    (
        "join-right",
        "SELECT COUNT(*), SUM(f.amount + i.weight) FROM items AS i JOIN facts AS f ON f.item = i.id WHERE f.amount < 5000",
    ),
    (
        "csv",
        "SELECT COUNT(*), MAX(id), SUM(amount), MAX(price), MAX(name), MAX(category), MAX(ts), MAX(item), MAX(user_id) FROM csv",
    ),
    ("csv-some", "SELECT category, SUM(amount) FROM csv GROUP BY category"),
    (
        "json",
        "SELECT COUNT(*), MAX(id), SUM(amount), MAX(price), MAX(name), MAX(category), MAX(ts), MAX(item), MAX(user_id) FROM json",
    ),
    ("json-some", "SELECT category, SUM(amount) FROM json GROUP BY category"),
];
