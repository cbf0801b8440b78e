//! Templates that run.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock, Weak};

use gotmpl::parse::ListNode;
use gotmpl::{Template, TemplateError, Value};

use super::{RenderError, Shared, functions, trees};

/// How deep templates may include one another.
const DEPTH: usize = 50;

thread_local! {
    static DEEP: Cell<usize> = const { Cell::new(0) };
}

/// Templates that include one another by name.
pub(super) struct Engine {
    shared: Arc<Inner>,
}

struct Inner {
    trees: BTreeMap<String, ListNode>,
    template: Template,
    /// What a function has to say that the engine's errors cannot carry.
    said: Shared<Option<RenderError>>,
}

impl Engine {
    /// Of texts, each with its name.
    pub(super) fn new<'a>(
        texts: impl Iterator<Item = (String, &'a str)>,
    ) -> Result<Self, RenderError> {
        let known: BTreeSet<&str> = functions::names().into_iter().collect();
        let mut all = BTreeMap::new();
        for (name, text) in texts {
            all.extend(trees::parse(&name, text, &known)?);
        }
        Ok(Self::of(all, Arc::default()))
    }

    fn of(trees: BTreeMap<String, ListNode>, said: Shared<Option<RenderError>>) -> Self {
        let inner: Arc<OnceLock<Weak<Inner>>> = Arc::default();
        let own = {
            let inner = Arc::clone(&inner);
            move || inner.get().and_then(Weak::upgrade).ok_or_else(|| gone("the engine"))
        };
        let mut template = functions::add(Template::new("chart"), &said);
        let get = own.clone();
        template = template.func("include", move |args| match args {
            [Value::String(name), data] => get()?.run(name, data).map(text),
            _ => Err(gone("include takes a name and a value")),
        });
        template = template.func("tpl", move |args| match args {
            [Value::String(source), data] => own()?.run_text(source, data).map(text),
            _ => Err(gone("tpl takes a text and a value")),
        });
        for (name, tree) in &trees {
            template = template.add_parse_tree(name, tree.clone());
        }
        let shared = Arc::new(Inner { trees, template, said });
        // Nothing was set before.
        let _ = inner.set(Arc::downgrade(&shared));
        Self { shared }
    }

    /// Runs the template of that name.
    pub(super) fn run(&self, name: &str, data: &Value) -> Result<String, RenderError> {
        self.shared.run(name, data).map_err(|error| self.shared.explained(name, &error))
    }
}

fn text(text: String) -> Value {
    Value::String(text.into())
}

fn gone(reason: &str) -> TemplateError {
    TemplateError::Exec(reason.to_owned())
}

impl Inner {
    fn run(&self, name: &str, data: &Value) -> gotmpl::Result<String> {
        let deep = DEEP.get();
        if deep >= DEPTH {
            return Err(gone("templates include one another without end"));
        }
        DEEP.set(deep + 1);
        let ran = self.template.execute_template_to_string(name, data);
        DEEP.set(deep);
        ran.map_err(|error| {
            // Kept with the innermost name: outer ones would hide it.
            let explained = self.explained(name, &error);
            self.say(explained)
        })
    }

    /// Runs a text as a template beside these.
    fn run_text(&self, source: &str, data: &Value) -> gotmpl::Result<String> {
        const NAME: &str = "a template in the values";
        let known: BTreeSet<&str> = functions::names().into_iter().collect();
        let mut all = self.trees.clone();
        all.extend(trees::parse(NAME, source, &known).map_err(|error| self.say(error))?);
        Engine::of(all, Arc::clone(&self.said)).shared.run(NAME, data)
    }

    fn say(&self, error: RenderError) -> TemplateError {
        let reason = error.to_string();
        if let Ok(mut said) = self.said.lock() {
            said.get_or_insert(error);
        }
        TemplateError::Exec(reason)
    }

    /// What a function said, or else what the engine says of the template.
    fn explained(&self, name: &str, error: &TemplateError) -> RenderError {
        let said = self.said.lock().ok().and_then(|mut said| said.take());
        said.unwrap_or_else(|| {
            let reason = error.to_string();
            let reason = reason.strip_prefix("execution error: ").unwrap_or(&reason).to_owned();
            RenderError::Template { place: name.to_owned(), reason }
        })
    }
}
