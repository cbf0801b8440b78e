//! Parsed templates, checked and evened out before they run.
//!
//! - A function that is not there is an error here, with its line; the engine
//!   finds it only where it is called.
//! - `.a.b` where `.a` is null is an error in Go; the engine gives null. Paths of
//!   two steps and more become calls of [`PATH`], which knows.
//! - What an action prints goes through [`SHOW`]: floats as Go prints them, and
//!   nothing for null.

use std::collections::BTreeSet;

use gotmpl::TemplateError;
use gotmpl::parse::{
    BranchNode, CommandNode, DefineNode, Expr, ListNode, Node, Parser, PipeNode, Pos, SmolStr,
};

use super::RenderError;

/// Takes where it stands, a value, and the names of a path in it.
pub(super) const PATH: &str = "path of a value";
/// Takes a value, gives the text that is printed for it.
pub(super) const SHOW: &str = "text of a value";

/// Named trees, of one text.
pub(super) type Trees = Vec<(String, ListNode)>;

/// Parses a text into its own tree, under `name`, and those that it defines.
pub(super) fn parse(
    name: &str,
    text: &str,
    functions: &BTreeSet<&str>,
) -> Result<Trees, RenderError> {
    let failed = |error| match error {
        TemplateError::Parse { line, col, message, .. }
        | TemplateError::Lex { line, col, message, .. } => {
            RenderError::Template { place: format!("{name}:{line}:{col}"), reason: message }
        }
        other => RenderError::Template { place: name.to_owned(), reason: other.to_string() },
    };
    let (mut tree, defines) =
        Parser::with_name(Some(name), text, "{{", "}}").and_then(Parser::parse).map_err(failed)?;
    let pass = Pass { name, functions };
    pass.list(&mut tree)?;
    let mut trees = vec![(name.to_owned(), tree)];
    for DefineNode { name, mut body, .. } in defines {
        pass.list(&mut body)?;
        trees.push((name.to_string(), body));
    }
    Ok(trees)
}

struct Pass<'a> {
    name: &'a str,
    functions: &'a BTreeSet<&'a str>,
}

type Checked = Result<(), RenderError>;

impl Pass<'_> {
    fn list(&self, list: &mut ListNode) -> Checked {
        list.nodes.iter_mut().try_for_each(|node| self.node(node))
    }

    fn node(&self, node: &mut Node) -> Checked {
        match node {
            Node::List(list) => self.list(list),
            Node::Action(action) => {
                self.pipe(&mut action.pipe)?;
                if action.pipe.decl.is_empty() {
                    let pos = action.pos;
                    let name = Expr::Identifier(pos, SmolStr::new(SHOW));
                    action.pipe.commands.push(CommandNode { pos, args: vec![name] });
                }
                Ok(())
            }
            Node::If(branch) | Node::With(branch) | Node::Range(branch) => self.branch(branch),
            Node::Template(call) => call.pipe.as_mut().map_or(Ok(()), |pipe| self.pipe(pipe)),
            Node::Define(define) => self.list(&mut define.body),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => Ok(()),
        }
    }

    fn branch(&self, branch: &mut BranchNode) -> Checked {
        self.pipe(&mut branch.pipe)?;
        self.list(&mut branch.body)?;
        branch.else_body.as_mut().map_or(Ok(()), |body| self.list(body))
    }

    fn pipe(&self, pipe: &mut PipeNode) -> Checked {
        for command in &mut pipe.commands {
            command.args.iter_mut().try_for_each(|one| self.expression(one))?;
        }
        Ok(())
    }

    fn expression(&self, expression: &mut Expr) -> Checked {
        match expression {
            Expr::Identifier(pos, name) if !self.functions.contains(name.as_str()) => {
                return Err(RenderError::Template {
                    place: format!("{}:{}", self.name, pos.line),
                    reason: format!("there is no function `{name}` here"),
                });
            }
            Expr::Pipe(_, pipe) => return self.pipe(pipe),
            Expr::Chain(_, inner, _) => self.expression(inner)?,
            _ => {}
        }
        let (pos, start, steps) = match expression {
            Expr::Field(pos, steps) if steps.len() > 1 => (*pos, Expr::Dot(*pos), steps),
            Expr::Variable(pos, name, steps) if steps.len() > 1 => {
                (*pos, Expr::Variable(*pos, name.clone(), Vec::new()), steps)
            }
            _ => return Ok(()),
        };
        let steps = std::mem::take(steps);
        *expression = self.path(pos, start, &steps);
        Ok(())
    }

    /// `start.steps`, as a call.
    fn path(&self, pos: Pos, start: Expr, steps: &[SmolStr]) -> Expr {
        let place = format!("{}:{}", self.name, pos.line);
        let mut args =
            vec![Expr::Identifier(pos, SmolStr::new(PATH)), Expr::String(pos, place.into()), start];
        args.extend(steps.iter().map(|step| Expr::String(pos, step.as_str().into())));
        let commands = vec![CommandNode { pos, args }];
        Expr::Pipe(pos, PipeNode { pos, decl: Vec::new(), commands, is_assign: false })
    }
}
