// Connects to a port of localhost, as most programs for the JVM do.
public class Connect {
	public static void main(String[] args) throws Exception {
		new java.net.Socket("localhost", Integer.parseInt(args[0])).close();
	}
}
