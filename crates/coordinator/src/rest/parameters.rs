//! Parameters as Rails reads them: `a=1&b[]=2&c[d]=3&e[][key]=k`, from queries, forms and JSON, into one JSON object. Pure; called once
//! for each request.

use serde_json::{Map, Value};

/// Most parts of a name; a deeper one is not looked into.
const DEEPEST: usize = 8;

/// Puts the pairs of a query or a form into an object.
pub fn put_pairs(into: &mut Map<String, Value>, pairs: impl IntoIterator<Item = (String, String)>) {
    for (name, value) in pairs {
        let (first, rest) = match name.split_once('[') {
            Some((first, rest)) if !first.is_empty() && rest.ends_with(']') => {
                (first, &rest[..rest.len() - 1])
            }
            _ => (name.as_str(), ""),
        };
        let parts: Vec<&str> = match first.len() == name.len() {
            true => Vec::new(),
            false => rest.split("][").take(DEEPEST).collect(),
        };
        put(into.entry(first.to_owned()).or_insert(Value::Null), &parts, value);
    }
}

/// Puts the members of a JSON body into an object, over what is there.
pub fn put_json(into: &mut Map<String, Value>, body: Map<String, Value>) {
    into.extend(body);
}

fn put(place: &mut Value, parts: &[&str], value: String) {
    let Some((part, rest)) = parts.split_first() else {
        *place = Value::String(value);
        return;
    };
    if !part.is_empty() {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        if let Value::Object(members) = place {
            put(members.entry((*part).to_owned()).or_insert(Value::Null), rest, value);
        }
        return;
    }
    if !place.is_array() {
        *place = Value::Array(Vec::new());
    }
    let Value::Array(list) = place else { return };
    // A member that the last object of the list has already begins the next one.
    let next = match (rest.first(), list.last()) {
        (Some(member), Some(Value::Object(last))) => last.contains_key(*member),
        _ => true,
    };
    if next {
        list.push(Value::Null);
    }
    if let Some(last) = list.last_mut() {
        put(last, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Value {
        let mut into = Map::new();
        put_pairs(&mut into, form_urlencoded::parse(text.as_bytes()).into_owned());
        Value::Object(into)
    }

    #[test]
    fn names_with_brackets_nest() {
        for (text, object) in [
            ("a=1&b=x+y", json!({"a": "1", "b": "x y"})),
            ("a=1&a=2", json!({"a": "2"})),
            ("a[]=1&a[]=2", json!({"a": ["1", "2"]})),
            ("variables[KEY]=v&variables[B]=w", json!({"variables": {"KEY": "v", "B": "w"}})),
            (
                "v[][key]=A&v[][value]=1&v[][key]=B&v[][value]=2",
                json!({"v": [{"key": "A", "value": "1"}, {"key": "B", "value": "2"}]}),
            ),
            ("filter[environment_scope]=review/*", json!({"filter": {"environment_scope": "review/*"}})),
            ("[x]=1&b[=2", json!({"[x]": "1", "b[": "2"})),
            ("a[b][c]=1", json!({"a": {"b": {"c": "1"}}})),
        ] {
            assert_eq!(read(text), object, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "[a\\[\\]=&b]{0,40}") {
            read(&text);
        }
    }
}
