//! `maas-deployer images`.

use serde_json::json;

use super::args::{ImageFormat, ImagesArgs};
use super::failure::{Exit, Failure};
use super::output::Output;
use crate::images::{self, ListFormat};
use crate::render::render;

pub(super) fn run(args: &ImagesArgs, output: &Output) -> Result<Exit, Failure> {
    let values = args.values.load()?;
    let release = args.release.install();
    let rendered = render(&values, &release).map_err(|error| Failure::render(&error))?;
    let images = images::of(&rendered);
    let format = match args.format {
        ImageFormat::Text => ListFormat::Text,
        ImageFormat::Skopeo => ListFormat::Skopeo,
        ImageFormat::Hauler => ListFormat::Hauler,
        ImageFormat::Zarf => ListFormat::Zarf,
    };
    output.data(&images::list(&images, format));
    output.json(&json!({"schema": "maas-deployer/images/1", "images": images}));
    Ok(Exit::Done)
}
