//! The documents name only what is there.

use std::fs;

use xtask::cargo::root;

#[test]
fn paths_in_the_documents_exist() {
    let mut named = 0;
    for document in [
        "README.md",
        "ARCHITECTURE.md",
        "docs/safety.md",
        "benches/README.md",
    ] {
        let text = fs::read_to_string(root().join(document)).expect(document);
        // What stands in backquotes, begins with one of our folders and has no placeholder.
        for path in text.split('`').skip(1).step_by(2) {
            let ours = ["darknet-", "xtask/", "tests/", "benches/", "fuzz/", "docs/"];
            let is_path = path.contains('/') && !path.contains([' ', '{', '…']);
            if is_path && ours.iter().any(|folder| path.starts_with(folder)) {
                assert!(root().join(path).exists(), "{document} names {path}");
                named += 1;
            }
        }
    }
    assert!(named > 20, "{named} paths");
}

#[test]
fn the_example_of_the_readme_is_the_one_that_compiles() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let example = fs::read_to_string(root().join("darknet-core/examples/figures.rs"));
    let example = example.expect("the example");
    let code = example.split_once("\n\n").expect("a doc line, then code").1;
    assert!(readme.contains(code), "README.md has another example");
}
