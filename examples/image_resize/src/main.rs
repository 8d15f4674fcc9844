//! Shrinks the PNG and JPEG files of a folder, each in a worker: `wasmp run --dir FOLDER::/images:rw examples/image_resize`.
//! They are in its folder `in`, and come to its folder `out`. Without any, some are painted first.

#![allow(clippy::print_stdout, reason = "the sizes are this program's output")]

mod paint;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use image::imageops::FilterType;
use wasmp_guest::{Error, Pool, Result, main, task};

const IN: &str = "/images/in";
const OUT: &str = "/images/out";

/// Neither wider nor higher than this.
const LARGEST: u32 = 128;

/// Shrinks one image; says how large it was and is.
#[task]
fn shrink(name: &str) -> Result<String> {
    let image = image::open(Path::new(IN).join(name))?;
    let small = image.resize(LARGEST, LARGEST, FilterType::Lanczos3);
    small.save(Path::new(OUT).join(name))?;
    Ok(format!(
        "{name}: {}×{} -> {}×{}",
        image.width(),
        image.height(),
        small.width(),
        small.height()
    ))
}

/// The names of the images in a folder, sorted.
fn images(folder: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = PathBuf::from(entry?.file_name());
        let is_image = path
            .extension()
            .is_some_and(|end| end == "png" || end == "jpg" || end == "jpeg");
        if let (true, Some(name)) = (is_image, path.to_str()) {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[main]
fn main() -> Result<()> {
    if !Path::new("/images").is_dir() {
        return Err(Error::new("no folder: run it with `--dir FOLDER::/images:rw`"));
    }
    fs::create_dir_all(IN)?;
    fs::create_dir_all(OUT)?;
    if images(IN)?.is_empty() {
        paint::all(Path::new(IN))?;
    }
    // A worker for each CPU.
    let pool = Pool::builder().build()?;
    for line in pool.imap(shrink, images(IN)?)? {
        let line: String = line?;
        println!("{line}");
    }
    Ok(())
}
