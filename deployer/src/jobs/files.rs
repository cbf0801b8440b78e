//! Files that are there whole or not at all.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::JobError;

/// Writes `content` beside `path` and renames it: whoever reads `path` sees the
/// old file or the new one. The mode is set before anything is written.
pub(super) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), JobError> {
    let fail = |doing| move |source| JobError::File { doing, path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder).map_err(fail("make the folder of"))?;
    let mut file = tempfile::Builder::new()
        .prefix(".maas-deployer-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(fail("write"))?;
    file.write_all(content).map_err(fail("write"))?;
    // After the content, and not of the name: umask must have no say.
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(fail("write"))?;
    file.as_file().sync_all().map_err(fail("write"))?;
    file.persist(path).map_err(|error| fail("write")(error.error))?;
    Ok(())
}

/// What a file holds; `None` where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, JobError> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(JobError::File { doing: "read", path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_mode_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/regiond.conf");
        for content in ["first", "second, longer"] {
            write(&path, content.as_bytes(), 0o640).unwrap();
            assert_eq!(read(&path).unwrap().unwrap(), content.as_bytes());
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(read(&folder.path().join("none")).unwrap(), None);
    }
}
