//! What holds for files of every kind.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use bzip2::write::BzEncoder;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;

/// A file that goes away with its owner.
pub(super) struct Scratch(pub PathBuf);

impl Scratch {
    /// A file with this content.
    pub fn new(content: &[u8]) -> Scratch {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("bgpblast-source-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays in the directory for temporary files.
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut encoder = BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Every way to open a file.
fn every_source(file: &Path) -> [Result<Routes, String>; 3] {
    let file = file.to_path_buf();
    [
        Source::Prefixes { file: file.clone(), sets: None, seed: 1, routes: None },
        Source::Messages { file: file.clone() },
        Source::Mrt { file, peer: None, family: None, routes: None },
    ]
    .map(|source| source.load(0))
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scale-tests/data").join(name)
}

fn prefixes_of(content: &[u8]) -> Result<Routes, String> {
    let file = Scratch::new(content);
    Source::Prefixes { file: file.0.clone(), sets: None, seed: 1, routes: None }.load(0)
}

#[test]
fn sources_as_scenarios_write_them() {
    let read = |text: &str| toml::from_str::<Source>(text);
    assert_eq!(
        read("kind = \"internet\"").unwrap(),
        Source::Internet { family: IpFamily::Ipv4, routes: 1_000_000, sets: None, seed: 1, prefix_seed: 1 }
    );
    let ranges = read("kind = \"ranges\"\nfirst = \"10.244.0.0/24\"").unwrap();
    assert_eq!(ranges.load(7).unwrap().routes[0].prefix.to_string(), "10.244.7.0/24");
    let mrt = "kind = \"mrt\"\nfile = \"rib.bz2\"\npeer = \"AS3333\"\nfamily = \"ipv6\"";
    let written = toml::to_string(&read(mrt).unwrap()).unwrap();
    assert_eq!(read(&written).unwrap(), read(mrt).unwrap());
    assert!(read("kind = \"messages\"\nfile = \"x\"\nspeed = 1").unwrap_err().to_string().contains("speed"));
    assert!(read("kind = \"messages\"").unwrap_err().to_string().contains("file"));
}

#[test]
fn the_recorded_feed_is_what_its_description_says() {
    let feed = Source::Messages { file: data("pch-as3856-ibgp-2015.bgp.gz") }.load(0).unwrap();
    // 577,706 prefixes were announced; 3 are withdrawn again, and 4 have AS 0 in their path (RFC 7607).
    assert_eq!(feed.routes.len(), 577_699);
    assert!(feed.sets.len() <= 89_641 && feed.sets.len() > 89_000, "{}", feed.sets.len());
    assert_eq!(feed.partial, None);
    assert!(
        feed.notes[0].starts_with("4 routes left out") && feed.notes[0].contains("AS 0"),
        "{:?}",
        feed.notes
    );
    let recorded = feed.recorded.unwrap();
    let mut rest = recorded.as_slice();
    let mut updates = 0;
    while let Some(frame) = kulan::wire::next_frame(rest, 4096).unwrap() {
        updates += 1;
        rest = &rest[frame.len..];
    }
    assert_eq!((updates, rest.len()), (89_679, 0));
}

#[test]
fn the_lists_of_a_real_table_load_whole() {
    for (name, count) in [
        ("ris-as3333-20260511-v4-prefixes.txt.gz", 1_042_325),
        ("ris-as3333-20260511-v6-prefixes.txt.gz", 246_175),
    ] {
        let routes = text::load_prefixes(&data(name)).unwrap();
        assert_eq!((routes.routes.len(), routes.partial, routes.notes.len()), (count, None, 0));
    }
    let file = data("ris-as3333-20260511-v6-prefixes.txt.gz");
    let some = Source::Prefixes { file, sets: Some(10), seed: 1, routes: Some(1000) }.load(0).unwrap();
    assert_eq!((some.routes.len(), some.sets.len()), (1000, 10));
    let all = text::load_prefixes(&data("ris-as3333-20260511-v6-prefixes.txt.gz")).unwrap().routes;
    for number in [0, 1, 500, 999] {
        assert_eq!(some.routes[number].prefix, all[number * all.len() / 1000].prefix);
    }
}

#[test]
fn lists_of_both_families_in_any_packing() {
    let text = b"# a list\n\n 20.0.0.0/8 # comment\r\n2a00::/12\n20.0.0.0/8\n20.0.0.0/16";
    let two = |pack: fn(&[u8]) -> Vec<u8>| [pack(&text[..30]), pack(&text[30..])].concat();
    for content in [text.to_vec(), gzip(text), bzip2(text), two(gzip), two(bzip2)] {
        let routes = prefixes_of(&content).unwrap();
        let prefixes: Vec<String> = routes.routes.iter().map(|route| route.prefix.to_string()).collect();
        assert_eq!(prefixes, ["20.0.0.0/8", "2a00::/12", "20.0.0.0/16"]);
        assert_eq!(routes.notes, ["1 lines left out that repeat a prefix"]);
        assert!(routes.routes.iter().all(|route| (route.set as usize) < routes.sets.len()));
    }
}

#[test]
fn damaged_lists_say_where() {
    let partial = |content: &[u8]| {
        let routes = prefixes_of(content).unwrap();
        (routes.routes.len(), routes.partial.unwrap())
    };
    let (count, why) = partial(b"20.0.0.0/8\n21.0.0.0/8\n21.0.0.1/8\n22.0.0.0/8\n");
    assert_eq!(count, 2);
    assert!(why.contains("line 3") && why.contains("write 21.0.0.0/8"), "{why}");
    let long = [b"20.0.0.0/8\n".as_slice(), &[b'7'; 10_000]].concat();
    assert!(partial(&long).1.contains("line 2: longer than"));
    let many: String = (0..20_000).map(|n| format!("20.{}.{}.0/24\n", n >> 8, n & 255)).collect();
    for packed in [gzip(many.as_bytes()), bzip2(many.as_bytes())] {
        let cut = &packed[..packed.len() - 5];
        let file = Scratch::new(cut);
        match text::load_prefixes(&file.0) {
            Ok(routes) => assert!(routes.partial.unwrap().contains("cut short")),
            Err(why) => assert!(why.contains("cut short"), "{why}"),
        }
    }
    assert!(prefixes_of(b"A 20.0.0.0/8\n").unwrap_err().contains("churn script"));
}

#[test]
fn scripts_of_text() {
    let file = Scratch::new(&gzip(b"# a day\nA 20.0.0.0/8\nW 2a00::/12\nA\t21.0.0.0/8\nB 1.0.0.0/8\n"));
    let script = load_script(&file.0).unwrap();
    let steps: Vec<(String, Change)> =
        script.steps.iter().map(|s| (s.prefix.to_string(), s.change)).collect();
    let expected = [
        ("20.0.0.0/8", Change::AnnounceAnew),
        ("2a00::/12", Change::Withdraw),
        ("21.0.0.0/8", Change::AnnounceAnew),
    ];
    assert_eq!(steps, expected.map(|(prefix, change)| (prefix.to_string(), change)));
    assert!(script.partial.unwrap().contains("line 5: \"B 1.0.0.0/8\" is no step"));
    assert!(load_script(&Scratch::new(b"20.0.0.0/8\n").0).unwrap_err().contains("no change"));
}

#[test]
fn what_is_no_source_is_an_error() {
    let missing = Path::new("/nonexistent/rib.gz");
    let directory = std::env::temp_dir();
    let empty = Scratch::new(b"");
    let packed_empty = Scratch::new(&gzip(b""));
    let xz = Scratch::new(b"\xfd7zXZ\0rest");
    for (path, word) in [
        (missing, "no such file"),
        (directory.as_path(), "directory"),
        (empty.0.as_path(), "empty"),
        (packed_empty.0.as_path(), ""),
        (xz.0.as_path(), "xz -dk"),
        (Path::new("/dev/null"), "regular"),
    ] {
        for loaded in every_source(path) {
            let error = loaded.unwrap_err();
            assert!(error.contains(word) && error.contains(&path.display().to_string()), "{error}");
        }
        assert!(load_script(path).unwrap_err().contains(word));
    }
}

#[test]
fn mistaken_kinds_are_recognised() {
    let text = Scratch::new(b"20.0.0.0/8\n21.0.0.0/8\n");
    let [_, messages, mrt] = every_source(&text.0);
    assert!(messages.unwrap_err().contains("kind = \"prefixes\""));
    assert!(mrt.unwrap_err().contains("kind = \"prefixes\""));
    let [list, _, mrt] = every_source(&data("pch-as3856-ibgp-2015.bgp.gz"));
    assert!(list.unwrap_err().contains("line 1: this is not text"));
    assert!(mrt.unwrap_err().contains("kind = \"messages\""));
    let other = Scratch::new(&[1, 2, 3, 4, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0]);
    let error = every_source(&other.0)[2].clone().unwrap_err();
    assert!(error.contains("the type field says 4660"), "{error}");
}

#[test]
fn a_stream_cut_anywhere_says_so() {
    let mut message = vec![0xff; 16];
    let attributes = [0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0x0d, 0x1c, 0x40, 3, 4, 192, 0, 2, 1];
    message.extend_from_slice(&[0, 23 + attributes.len() as u8 + 2, 2, 0, 0, 0, attributes.len() as u8]);
    message.extend_from_slice(&attributes);
    let second = [message.as_slice(), &[8, 21]].concat();
    message.extend_from_slice(&[8, 20]);
    let whole = [message.as_slice(), &second].concat();
    for len in 1..=whole.len() {
        let file = Scratch::new(&whole[..len]);
        match messages::load(&file.0) {
            Err(why) => assert!(len < message.len() && why.contains("at byte 0"), "{len}: {why}"),
            Ok(routes) => {
                assert_eq!(routes.routes.len(), 1 + usize::from(len == whole.len()), "{len}");
                let at_an_end = len == message.len() || len == whole.len();
                assert_eq!(routes.partial.is_none(), at_an_end, "{len}");
                assert_eq!(routes.sets.len(), 1);
            }
        }
    }
    let garbled = [whole.as_slice(), &[0; 40]].concat();
    let routes = messages::load(&Scratch::new(&garbled).0).unwrap();
    assert!(routes.partial.unwrap().contains(&format!("at byte {}", whole.len())));
    assert_eq!(routes.routes.len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_never_panics(
        start in prop::sample::select(vec![
            vec![], vec![0xff; 16], b"\x1f\x8b\x08".to_vec(), b"BZh9".to_vec(), b"A 1.0.0.0/8\n".to_vec(),
            vec![0, 0, 0, 1, 0, 13, 0, 2, 0, 0, 0, 40], vec![0, 0, 0, 1, 0, 12, 0, 1, 0, 0, 0, 40],
            vec![0, 0, 0, 1, 0, 13, 0, 1, 0, 0, 0, 40], vec![0, 0, 0, 1, 0, 16, 0, 4, 0, 0, 0, 60],
            vec![0, 0, 0, 1, 0, 17, 0, 9, 0xff, 0xff, 0xff, 0xff],
        ]),
        rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let file = Scratch::new(&[start, rest].concat());
        for loaded in every_source(&file.0) {
            prop_assert!(loaded.map_or(true, |routes| !routes.routes.is_empty()));
        }
        prop_assert!(load_script(&file.0).map_or(true, |script| !script.steps.is_empty()));
    }
}
