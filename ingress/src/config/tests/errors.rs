//! The form of an error, and errors about the form of the file.

use super::*;

#[test]
fn an_error_shows_place_line_and_remedy() {
    let error = Config::parse(&SMALLEST.replace("8::/64", "8::5/64"), "i.toml").unwrap_err();
    let expected = r#"
i.toml:7:13: 2001:db8::5/64 has bits set beyond its length
7 | prefixes = ["2001:db8::5/64"]
  |             ^^^^^^^^^^^^^^^^
  = write "2001:db8::/64""#;
    assert_eq!(error.to_string(), expected.trim_start());
}

#[test]
fn of_a_long_line_the_place_is_shown() {
    let many = "\"2001:db8::/64\", ".repeat(1000);
    let text = SMALLEST.replace("\"2001:db8::/64\"", &format!("{many}\"fe8x::/64\", {many}"));
    let error = Config::parse(&text, "i.toml").unwrap_err().to_string();
    let start = error.find("i.toml:7:17013").expect("the place");
    let lines: Vec<&str> = error[start..].lines().take(3).collect();
    assert!(lines[1].starts_with("7 | …") && lines[1].ends_with('…'), "{}", lines[1]);
    let column = lines[2].find('^').expect("a mark");
    let shown: String = lines[1].chars().skip(column).take(lines[2].matches('^').count()).collect();
    assert_eq!(shown, "\"fe8x::/64\"");
    assert!(lines[1].chars().count() < 200);
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = r#"
[uplink]
interface = "a-name-too-long-for-linux"
[[site]]
name = "home"
interface = "wg0"
prefixes = ["fe80::/64"]
[[listen]]
ports = [443, 0, 443]
"#;
    let error = Config::parse(text, "i.toml").unwrap_err();
    let ConfigError::Invalid { problems, .. } = error else { panic!("{error}") };
    let lines: Vec<_> = problems.iter().map(|p| p.place.as_ref().unwrap().line).collect();
    assert_eq!(lines, [3, 7, 9, 9]);
}

#[test]
fn keys_and_values_of_no_meaning() {
    refused(
        "ports",
        "prots",
        "i.toml:9:1: unknown key `prots`",
        "= did you mean `ports`? the keys here are ports, protocol, address, default_host, timestamps",
    );
    refused(
        "",
        "protocol = \"tsl\"",
        "i.toml:10:12: unknown value \"tsl\"",
        "= did you mean `tls`? the choices are tls, postgres",
    );
    refused("name = \"home\"\n", "", "i.toml:4:1: `name` is missing", "= add name = \"home\"");
    refused("[443]", "443", "i.toml:9:9: 443 is not a list", "= write [443]");
    refused(
        "[uplink]\ninterface = \"eth0\"",
        "",
        "i.toml: there is no [uplink]",
        "= add [uplink] with interface = \"eth0\"",
    );
}

/// What people write who have not written TOML before.
#[test]
fn values_of_the_wrong_form() {
    for (text, what, remedy) in [
        ("[site]\n", "1:1: there can be several of [site]", "write [[site]]"),
        ("[[uplink]]\n", "1:1: there is one [uplink] only", "write [uplink]"),
        (
            "uplink = \"eth0\"",
            "1:10: \"eth0\" is not a table",
            "write [uplink] in a line of its own",
        ),
        ("[uplink]\ninterface = eth0", "2:13: string values", "write it in quotes: \"eth0\""),
        ("[uplink]\ninterface = 5", "2:13: 5 is not text", "write it in quotes: \"5\""),
        ("[uplink]\ninterface = [\"a\"]", "2:13: [\"a\"] is not text", "without [ and ]"),
        ("[dns]\ntimeout = \"2\"", "2:11: \"2\" is not a number", "write 2"),
        ("[dns]\ntimeout = \"2s\"", "2:11: \"2s\" is not a number", "without quotes and units"),
        ("[dns]\nservers = [1.1.1.1]", "2:15: ", "write it in quotes: \"1.1.1.1\""),
        ("[daemon]\nflows = 1e6", "2:9: 1e6 is not a whole number", "write 1000000"),
        ("[[listen]]\nports = \"443\"", "2:9: \"443\" is not a list", "write [443]"),
        ("[[site]]\nprefixes = [\n[\"a\"]]", "3:1: [\"a\"] is not text", "without [ and ]"),
        ("[[listen]]\ntimestamps = 1", "2:14: 1 is neither true nor false", "write either"),
        ("[hosts]\na.b = \"::1\"", "2:1: a.b stands for tables", "in quotes: \"a.b\" = \"::1\""),
        ("[hosts]\n\"a.b\" = ::1", "2:9: ", "write it in quotes: \"::1\""),
        (
            "[hosts.nas]\n",
            "1:1: [hosts.nas] is no table",
            "write \"nas\" = \"ADDRESS\" below [hosts]",
        ),
    ] {
        let error = Config::parse(text, "i.toml").unwrap_err().to_string();
        assert!(error.starts_with(&format!("i.toml:{what}")), "{text}\n{error}");
        assert!(error.contains(remedy), "{text}\n{error}");
    }
}

#[test]
fn an_octet_that_is_not_utf8_is_shown() {
    let file = std::env::temp_dir().join(format!("ingress-latin1-{}", std::process::id()));
    std::fs::write(&file, b"# a\n# caf\xe9\n").unwrap();
    let error = Config::load(&file).unwrap_err().to_string();
    std::fs::remove_file(&file).unwrap();
    let expected =
        ":2:6: here is an octet that is not UTF-8, as all of the file must be\n2 | # caf\u{fffd}\n";
    assert!(error.contains(expected), "{error}");
}

proptest::proptest! {
    /// Whatever is wrong is said, with a mark below what is shown.
    #[test]
    fn no_text_is_too_odd_for_an_error(
        cut in 0..FULL.len(),
        odd in "[\\[\\]=\"'{}.,#:\\n\\r\\t 0a\u{a0}é→]{0,6}",
        skipped in 0..40_usize,
    ) {
        let text = format!("{}{odd}{}", &FULL[..cut], &FULL[(cut + skipped).min(FULL.len())..]);
        if let Err(error) = Config::parse(&text, "i.toml") {
            let error = error.to_string();
            proptest::prop_assert!(error.contains("\n") && error.contains(" = "), "{}", error);
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/nowhere/ingress.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/ingress.toml: no such file; write one, or name one with --config"
    );
}
