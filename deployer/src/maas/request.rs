//! One call of the API, which can be sent more than once.

use http::Method;
use http::header::CONTENT_TYPE;
use reqwest::multipart::{Form, Part};
use url::Url;
use url::form_urlencoded::Serializer;

/// A call: what it does, and what goes with it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    path: String,
    op: Option<&'static str>,
    query: Vec<(&'static str, String)>,
    body: Body,
    /// Whether it does no harm to do it twice.
    pub(super) repeatable: bool,
}

#[derive(Clone, Debug)]
enum Body {
    None,
    Form(Vec<(&'static str, String)>),
    /// Fields, and a file: MAAS takes keyrings only as parts with a file name.
    WithFile(Vec<(&'static str, String)>, (&'static str, Vec<u8>)),
}

impl Request {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        let repeatable = method != Method::POST;
        Self {
            method,
            path: path.into(),
            op: None,
            query: Vec::new(),
            body: Body::None,
            repeatable,
        }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(super) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(super) fn op(mut self, op: &'static str) -> Self {
        self.op = Some(op);
        self
    }

    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    pub(super) fn form(mut self, fields: Vec<(&'static str, String)>) -> Self {
        self.body = Body::Form(fields);
        self
    }

    pub(super) fn with_file(
        mut self,
        fields: Vec<(&'static str, String)>,
        name: &'static str,
        content: Vec<u8>,
    ) -> Self {
        self.body = Body::WithFile(fields, (name, content));
        self
    }

    pub(super) fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// Its URL below `base`, which ends in a slash.
    pub(super) fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        let path = format!("{}{}", base.path(), self.path);
        url.set_path(&path);
        if self.op.is_some() || !self.query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            pairs.extend_pairs(self.op.map(|op| ("op", op)));
            pairs.extend_pairs(&self.query);
        }
        url
    }

    pub(super) fn add_body(&self, builder: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.body {
            // MAAS wants a length with every POST.
            Body::None if self.method == Method::POST => form(builder, &[]),
            Body::None => builder,
            Body::Form(fields) => form(builder, fields),
            Body::WithFile(fields, (name, content)) => {
                let start = Form::new();
                let whole = fields
                    .iter()
                    .fold(start, |form, (name, value)| form.text(*name, value.clone()));
                let file = Part::bytes(content.clone()).file_name(*name);
                builder.multipart(whole.part(*name, file))
            }
        }
    }
}

fn form(
    builder: reqwest::RequestBuilder,
    fields: &[(&'static str, String)],
) -> reqwest::RequestBuilder {
    let mut encoded = Serializer::new(String::new());
    encoded.extend_pairs(fields);
    builder.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(encoded.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_their_trailing_slash() {
        let base = Url::parse("http://maas:5240/MAAS/api/2.0/").unwrap();
        let request = Request::get("maas/").op("get_config").query("name", "a b&c");
        assert_eq!(
            request.url(&base).as_str(),
            "http://maas:5240/MAAS/api/2.0/maas/?op=get_config&name=a+b%26c"
        );
        let request = Request::get("boot-sources/2/selections/");
        assert_eq!(
            request.url(&base).as_str(),
            "http://maas:5240/MAAS/api/2.0/boot-sources/2/selections/"
        );
    }
}
