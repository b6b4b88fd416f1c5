using System.IO.Compression;
using System.Text;
using TransferEngine.Serialization;

namespace TransferEngine.Engine.Tests.Serialization;

public class GzipTests
{
    [Fact]
    public void Every_truncation_of_a_compressed_table_is_an_error()
    {
        string path = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.csv.gz");
        try
        {
            using (var zip = new GZipStream(File.Create(path), CompressionMode.Compress))
                zip.Write(Encoding.ASCII.GetBytes(string.Concat(Enumerable.Range(0, 400).Select(i => $"{i},{i * i}\n"))));
            Assert.Equal(400, Csv.Load(path).Rows);
            var whole = File.ReadAllBytes(path);
            for (int length = 0; length < whole.Length; length++)
            {
                File.WriteAllBytes(path, whole[..length]);
                Assert.Throws<DataFormatException>(() => Csv.Load(path));
            }
        }
        finally
        {
            File.Delete(path);
        }
    }
}
